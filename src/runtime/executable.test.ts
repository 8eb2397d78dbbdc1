import { describe, expect, test } from 'bun:test'
import { executableCandidates } from './executable.ts'

describe('executableCandidates()', () => {
  test.each<[string, readonly string[], readonly string[]]>([
    ['/bin/sh', [], ['/bin/sh']],
    ['./run', ['PATH=/bin'], ['./run']],
    ['sh', ['PATH=/usr/bin:/bin'], ['/usr/bin/sh', '/bin/sh']],
    ['sh', ['PATH=/a', 'PATH=/b'], ['/b/sh']],
    ['sh', ['PATH=:/bin:.:relative:'], ['/bin/sh']],
    ['sh', ['PATH='], []],
    ['sh', ['XPATH=/a', 'PATH=/b'], ['/b/sh']],
  ])('looks for %s with %j at %j', (name, env, expected) => {
    expect(executableCandidates({ cwd: '/', args: [name], env })).toEqual(expected)
  })

  test('looks in the usual places without a PATH', () => {
    const candidates = executableCandidates({ cwd: '/', args: ['sh'] })
    expect(candidates[0]).toBe('/usr/local/sbin/sh')
    expect(candidates.at(-1)).toBe('/bin/sh')
  })

  test.each([{}, { args: [] }, { args: [''] }])('refuses a process with %j', process => {
    expect(() => executableCandidates({ cwd: '/', ...process })).toThrow('process.args is empty')
  })
})
