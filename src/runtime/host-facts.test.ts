import { describe, expect, test } from 'bun:test'
import { specOf } from '../../test/support/composed-container.ts'
import { kernelVersion, readHostFacts } from './host-facts.ts'

describe('kernelVersion()', () => {
  test.each([
    ['6.18.44-fc', [6, 18]],
    ['5.15', [5, 15]],
    ['6.1-rc3', [6, 1]],
    ['10.0.0+', [10, 0]],
    ['7', [7, 0]],
  ] as const)('%s is %p', (text, expected) => expect(kernelVersion(text)).toEqual(expected))
})

describe('readHostFacts()', () => {
  test('knows which bind sources are directories, also relative ones, and looks at no other mount', () => {
    const mounts = [
      { destination: '/a', source: '/dev', options: ['bind'] },
      { destination: '/b', source: 'dev/null', type: 'bind' },
      { destination: '/c', source: 'proc', options: ['rbind'] },
      { destination: '/d', source: '/does/not/exist', type: 'tmpfs' },
    ]
    expect([...readHostFacts(specOf({ mounts }), '/').directories].sort()).toEqual(['/dev', '/proc'])
  })

  test('refuses a bind source that does not exist, unless it will be a file by then', () => {
    const spec = specOf({ mounts: [{ destination: '/x', source: '/does/not/exist', options: ['bind'] }] })
    expect(() => readHostFacts(spec, '/')).toThrow('Cannot mount "/does/not/exist" at "/x": the source does not exist')
    expect(readHostFacts(spec, '/', new Map([['/does/not/exist', 'file']])).directories.size).toBe(0)
  })

  test('reads the limits only for a config that sets some, and the environment only for one with hooks', () => {
    const plain = readHostFacts(specOf(), '/')
    expect([plain.hardLimits, plain.environment]).toEqual([{}, []])
    const facts = readHostFacts(specOf({ process: { rlimits: [] }, hooks: {} }), '/')
    expect(Object.keys(facts.hardLimits)).toHaveLength(16)
    expect(typeof facts.hardLimits['RLIMIT_NOFILE']).toBe('bigint')
    expect(facts.environment).toContain(`PATH=${process.env['PATH'] ?? ''}`)
  })
})
