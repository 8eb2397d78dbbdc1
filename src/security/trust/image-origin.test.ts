import { describe, expect, test } from 'bun:test'
import { parseReference } from '../../oci/reference.ts'
import { fileOrigin, LOCAL_ORIGIN, registryOrigin, requirementsFor } from './image-origin.ts'
import { parseTrustPolicy } from './trust-policy-parser.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`

describe('registryOrigin()', () => {
  test.each([
    [
      'debian',
      ['docker.io/library/debian:latest', 'docker.io/library/debian', 'docker.io/library', 'docker.io', '*.io'],
    ],
    [
      'a.example.com:5000/x/y:1',
      [
        'a.example.com:5000/x/y:1',
        'a.example.com:5000/x/y',
        'a.example.com:5000/x',
        'a.example.com:5000',
        '*.example.com',
        '*.com',
      ],
    ],
    [`localhost/x@${DIGEST}`, [`localhost/x@${DIGEST}`, 'localhost/x', 'localhost']],
    [`localhost/x:1@${DIGEST}`, [`localhost/x@${DIGEST}`, 'localhost/x', 'localhost']],
    ['[2001:db8::1]:5000/x:1', ['[2001:db8::1]:5000/x:1', '[2001:db8::1]:5000/x', '[2001:db8::1]:5000']],
  ])('gives the scopes of %s, the narrowest first', (text, scopes) => {
    expect(registryOrigin(parseReference(text))).toEqual({ transport: 'docker', scopes, reference: scopes[0] ?? '' })
  })
})

describe('fileOrigin()', () => {
  test('gives the names at a path, the path, and the directories above, without the root', () => {
    const { scopes } = fileOrigin('oci', '/var/lib/images', ['1'])
    expect(scopes).toEqual(['/var/lib/images:1', '/var/lib/images', '/var/lib', '/var'])
  })

  test('gives none for a pipe and for archives of docker', () => {
    expect(fileOrigin('oci-archive', null, ['a:1']).scopes).toEqual([])
    expect(fileOrigin('docker-archive', '/a.tar', ['a:1']).scopes).toEqual([])
  })
})

describe('requirementsFor()', () => {
  const [accept, reject] = [[{ type: 'insecureAcceptAnything' }], [{ type: 'reject' }]]
  const policy = parseTrustPolicy(
    JSON.stringify({
      default: reject,
      transports: {
        docker: { '': accept, 'example.com': reject, 'example.com/team/app': accept },
        oci: { '/srv': accept },
      },
    }),
    'policy.json',
  )
  const scopeOf = (text: string): string => requirementsFor(policy, registryOrigin(parseReference(text))).scope

  test('takes the narrowest scope, then the rest of the transport, then the default', () => {
    expect(scopeOf('example.com/team/app:1')).toBe('docker: example.com/team/app')
    expect(scopeOf('example.com/team/apps:1')).toBe('docker: example.com')
    expect(scopeOf('registry.test/app')).toBe('docker')
    expect(requirementsFor(policy, fileOrigin('oci', '/srv/a', [])).scope).toBe('oci: /srv')
    expect(requirementsFor(policy, fileOrigin('oci', '/home', [])).scope).toBe('default')
    expect(requirementsFor(policy, LOCAL_ORIGIN)).toMatchObject({ scope: 'default', requirements: reject })
  })
})
