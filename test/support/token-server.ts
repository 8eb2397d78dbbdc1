/** A token server for docker-registry's `auth.token`, as distribution specifies it. */

import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AuthorityFiles } from './certificates.ts'

/** Who may do what. */
export interface TokenAccount {
  readonly username: string
  readonly password: string
  /** An identity token that stands for the account. */
  readonly identityToken?: string
}

/** How the server is to be. */
export interface TokenServerOptions {
  /** Signs the tokens; docker-registry trusts it. */
  readonly authority: AuthorityFiles
  /** The server's own certificate; absent: plain HTTP. */
  readonly tls?: AuthorityFiles
  readonly accounts: readonly TokenAccount[]
  /** What anybody may do in any repository; none by default. */
  readonly anonymous?: readonly string[]
  readonly expiresInSeconds?: number
}

/** What was asked of the server. */
export interface TokenServerRequest {
  readonly method: string
  readonly scopes: readonly string[]
  /** The account that was recognised; null: anybody. */
  readonly account: string | null
  readonly parameters: Readonly<Record<string, string>>
}

/** A token server that runs. */
export interface TokenServer extends AsyncDisposable {
  readonly realm: string
  readonly service: string
  readonly issuer: string
  readonly certificatePath: string
  readonly requests: TokenServerRequest[]
}

/** Starts one on a free port of loopback. */
export function startTokenServer(options: TokenServerOptions): TokenServer {
  const { authority, tls, expiresInSeconds = 300 } = options
  const requests: TokenServerRequest[] = []
  const service = 'test registry'
  const issuer = 'test issuer'
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    ...(tls !== undefined && { tls: { cert: Bun.file(tls.certificatePath), key: Bun.file(tls.keyPath) } }),
    async fetch(request) {
      const parameters = await parametersOf(request)
      const account = accountOf(request, parameters, options.accounts)
      const scopes = parameters.flatMap(([name, value]) => (name === 'scope' ? value.split(' ') : [])).filter(Boolean)
      requests.push({
        method: request.method,
        scopes,
        account: account?.username ?? null,
        parameters: Object.fromEntries(parameters),
      })
      if (account === undefined)
        return Response.json({ errors: [{ code: 'UNAUTHORIZED', message: 'wrong' }] }, { status: 401 })
      const access = scopes.flatMap(scope => accessOf(scope, account === null ? (options.anonymous ?? []) : null))
      const token = signToken(authority, {
        issuer,
        service,
        subject: account?.username ?? '',
        access,
        expiresInSeconds,
      })
      const wantsIdentity = parameters.some(([name]) => name === 'offline_token')
      const identity =
        wantsIdentity && account?.identityToken !== undefined ? { refresh_token: account.identityToken } : {}
      return Response.json({ token, access_token: token, expires_in: expiresInSeconds, ...identity })
    },
  })
  return {
    realm: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${server.port}/token`,
    service,
    issuer,
    certificatePath: authority.certificatePath,
    requests,
    [Symbol.asyncDispose]: async () => void (await server.stop(true)),
  }
}

async function parametersOf(request: Request): Promise<readonly (readonly [string, string])[]> {
  if (request.method === 'POST') return [...new URLSearchParams(await request.text())]
  return [...new URL(request.url).searchParams]
}

/** null: anybody; undefined: somebody whose credentials are wrong. */
function accountOf(
  request: Request,
  parameters: readonly (readonly [string, string])[],
  accounts: readonly TokenAccount[],
): TokenAccount | null | undefined {
  const identity = parameters.find(([name]) => name === 'refresh_token')?.[1]
  if (identity !== undefined) return accounts.find(({ identityToken }) => identityToken === identity)
  const header = request.headers.get('authorization')
  if (header === null) return null
  const text = Buffer.from(header.replace(/^Basic /, ''), 'base64').toString()
  return accounts.find(({ username, password }) => text === `${username}:${password}`)
}

function accessOf(scope: string, allowed: readonly string[] | null): readonly unknown[] {
  const [, type, name, wanted = ''] = /^(\w+):(.*):([^:]*)$/.exec(scope) ?? []
  const actions = wanted.split(',').filter(action => allowed === null || allowed.includes(action))
  return actions.length === 0 ? [] : [{ type, name, actions }]
}

interface Claims {
  readonly issuer: string
  readonly service: string
  readonly subject: string
  readonly access: readonly unknown[]
  readonly expiresInSeconds: number
}

function signToken({ certificatePath, keyPath }: AuthorityFiles, claims: Claims): string {
  const certificate = new X509Certificate(readFileSync(certificatePath))
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const { issuer, service, subject, access, expiresInSeconds } = claims
  const header = { typ: 'JWT', alg: 'ES256', x5c: [certificate.raw.toString('base64')] }
  const times = { iat: now, nbf: now - 10, exp: now + expiresInSeconds }
  const text = `${encode(header)}.${encode({ iss: issuer, aud: service, sub: subject, jti: randomUUID(), access, ...times })}`
  const key = createPrivateKey(readFileSync(keyPath))
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
