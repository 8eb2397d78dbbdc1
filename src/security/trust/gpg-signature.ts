import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BerthError } from '../../lib/error.ts'
import { SignatureRefusal } from './image-signature.ts'
import { PAYLOAD_LIMIT_BYTES } from './signing-payload.ts'

/** Importing a keyring and verifying one signature takes a fraction of a second. */
const GPG_LIMIT_MS = 60_000
const STATUS_LIMIT_BYTES = 1024 * 1024
const HOME_PREFIX = 'berth-gpg-'
/** No verification takes as long. */
const LEFTOVER_AGE_MS = 60 * 60 * 1000

/**
 * Verifies OpenPGP signatures by the system's gpg, in a key store that holds the given keyrings and nothing else, so that a good
 * signature is one of an accepted key. Dispose removes the store.
 */
export class GpgVerifier implements AsyncDisposable {
  readonly #home: string
  readonly #gpg: string

  private constructor(home: string, gpg: string) {
    this.#home = home
    this.#gpg = gpg
  }

  /** @throws {BerthError} unavailable: there is no gpg; invalidArgument: what is given is no keyring */
  static async open(keyrings: readonly Uint8Array[]): Promise<GpgVerifier> {
    const gpg = Bun.which('gpg', { PATH: absolutePath() })
    if (gpg === null)
      throw new BerthError(
        'unavailable',
        'Cannot verify OpenPGP signatures: there is no gpg, expected it to be installed',
      )
    await removeLeftovers()
    const verifier = new GpgVerifier(await mkdtemp(join(tmpdir(), HOME_PREFIX)), gpg)
    await using undo = new AsyncDisposableStack()
    undo.use(verifier)
    for (const keyring of keyrings) await verifier.#import(keyring)
    undo.move()
    return verifier
  }

  /** What a signed message says, if its one signature is good and the key is neither expired nor revoked. @throws {SignatureRefusal} */
  async payloadOf(message: Uint8Array): Promise<Uint8Array> {
    const [input, output] = ['message', 'payload'].map(name => join(this.#home, `${name}-${crypto.randomUUID()}`))
    await writeFile(String(input), message)
    const { status } = await this.#run([
      ...['--output', String(output), '--max-output', String(PAYLOAD_LIMIT_BYTES)],
      ...['--verify', String(input)],
    ])
    const problem = statusProblem(status)
    if (problem !== null) throw new SignatureRefusal(problem)
    const payload = Bun.file(String(output))
    if (!(await payload.exists())) throw new SignatureRefusal('it carries no payload')
    return await payload.bytes()
  }

  async #import(keyring: Uint8Array): Promise<void> {
    const path = join(this.#home, `keyring-${crypto.randomUUID()}`)
    await writeFile(path, keyring)
    const { status } = await this.#run(['--import', path])
    if (status.some(({ word }) => word === 'IMPORT_OK')) return
    throw new BerthError('invalidArgument', 'Cannot use the keys of the trust policy: gpg finds no OpenPGP key in them')
  }

  /** The exit status is not asked for: what gpg says of each thing it finds tells more. */
  async #run(args: readonly string[]): Promise<{ readonly status: readonly StatusLine[] }> {
    const child = Bun.spawn([this.#gpg, ...FIXED_OPTIONS, '--homedir', this.#home, ...args], {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
      // Neither a user's configuration nor a language reaches it.
      env: { PATH: absolutePath(), HOME: this.#home, LC_ALL: 'C' },
      killSignal: 'SIGKILL',
      signal: AbortSignal.timeout(GPG_LIMIT_MS),
    })
    const text = await readLimited(child.stdout).finally(() => child.kill('SIGKILL'))
    await child.exited
    return { status: text.split('\n').flatMap(statusLine) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#home, { recursive: true, force: true })
  }
}

const FIXED_OPTIONS: readonly string[] = [
  '--no-options',
  '--batch',
  '--no-tty',
  '--no-autostart',
  '--disable-dirmngr',
  '--no-auto-key-retrieve',
  // The key store is the list of accepted keys; there is no web of trust.
  ...['--trust-model', 'always'],
  ...['--weak-digest', 'SHA1', '--weak-digest', 'RIPEMD160'],
  ...['--status-fd', '1'],
]

/** A line of gpg's status output (doc/DETAILS › Format of the --status-fd output). */
interface StatusLine {
  readonly word: string
  readonly rest: string
}

function statusLine(line: string): readonly StatusLine[] {
  const [, word = '', rest = ''] = /^\[GNUPG:\] ([A-Z_0-9]+)(?: (.*))?$/.exec(line) ?? []
  return word === '' ? [] : [{ word, rest }]
}

/** Each says that a signature, or something beside it, is not as it should be. */
const BAD: Readonly<Record<string, string>> = {
  BADSIG: 'its signature is wrong',
  ERRSIG: 'its key is none of those that the policy accepts, or its algorithm is not',
  EXPSIG: 'it has expired',
  EXPKEYSIG: 'its key has expired',
  REVKEYSIG: 'its key was revoked',
  NO_PUBKEY: 'its key is none of those that the policy accepts',
  NODATA: 'it is no OpenPGP signature',
  UNEXPECTED: 'it holds what no signature does',
  BEGIN_DECRYPTION: 'it is encrypted',
  DECRYPTION_FAILED: 'it is encrypted',
}

/** Exactly one signature, good and valid, over exactly one text; null: so it is. */
function statusProblem(status: readonly StatusLine[]): string | null {
  const bad = status.find(({ word }) => Object.hasOwn(BAD, word))
  if (bad !== undefined) return BAD[bad.word] ?? bad.word
  const count = (wanted: string): number => status.filter(({ word }) => word === wanted).length
  for (const word of ['GOODSIG', 'VALIDSIG', 'PLAINTEXT']) {
    if (count(word) !== 1) return `gpg says ${word} ${count(word)} times of it, expected once`
  }
  const valid = status.find(({ word }) => word === 'VALIDSIG')
  if (!/^[0-9A-F]{40,64} /.test(valid?.rest ?? '')) return 'gpg names no fingerprint'
  // Signature class 00: over a document as it is, not over a text whose line ends do not count, a key or nothing.
  return valid?.rest.split(' ')[8] === '00' ? null : 'it is no signature over a binary document'
}

/** What killed processes of ours have left. */
async function removeLeftovers(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter(each => each.startsWith(HOME_PREFIX))) {
    const path = join(tmpdir(), name)
    // Gone since, by another process that tidies up.
    const found = await stat(path).catch(() => null)
    if (found === null || found.uid !== process.getuid?.() || Date.now() - found.mtimeMs < LEFTOVER_AGE_MS) continue
    await rm(path, { recursive: true, force: true })
  }
}

function absolutePath(): string {
  return (process.env['PATH'] ?? '')
    .split(':')
    .filter(each => each.startsWith('/'))
    .join(':')
}

async function readLimited(stream: ReadableStream<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  let total = 0
  for await (const piece of stream) {
    total += piece.length
    if (total > STATUS_LIMIT_BYTES) throw new SignatureRefusal('gpg says more of it than fits')
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}
