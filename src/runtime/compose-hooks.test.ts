import { describe, expect, test } from 'bun:test'
import { composed, containerInput, hostFacts } from '../../test/support/composed-container.ts'
import { HOOK_KINDS } from '../oci/runtime-spec.ts'
import type { Step } from '../plan/step.ts'
import { hookSteps } from './compose-hooks.ts'

const hooks = Object.fromEntries(HOOK_KINDS.map(kind => [kind, [{ path: `/${kind}` }, { path: `/${kind}2` }]]))

/** The hooks among steps by path, and the steps of these operations around them. */
function outline(steps: readonly Step[], ...ops: readonly string[]): string[] {
  return steps.flatMap(each => (each.op === 'hook' ? [each.args.path] : ops.includes(each.op) ? [each.op] : []))
}

describe('composeCreateHooks()', () => {
  const { parent, child, exec } = composed({ hooks }, { start: 'on request' })

  test('runs prestart and createRuntime in the launcher, between two messages for which the child waits', () => {
    expect(outline(parent, 'await', 'post').slice(0, 6)).toEqual([
      'await',
      '/prestart',
      '/prestart2',
      '/createRuntime',
      '/createRuntime2',
      'post',
    ])
  })

  test('runs createContainer in the child after those, when the mounts are there and the host is still in reach', () => {
    expect(outline(child, 'move_mount', 'post', 'await', 'pivot_root')).toEqual([
      'move_mount',
      'post',
      'await',
      '/createContainer',
      '/createContainer2',
      'pivot_root',
    ])
  })

  test('runs startContainer after start, as the last before the limits and the program', () => {
    expect(outline(exec, 'wait_start', 'execve')).toEqual([
      'wait_start',
      '/startContainer',
      '/startContainer2',
      'execve',
    ])
  })

  test('leaves poststart and poststop to the runtime', () => {
    const all = [parent, child, exec].flatMap(steps => outline(steps))
    expect(all.filter(path => path.startsWith('/post'))).toEqual([])
  })

  test('has nobody wait where there are no hooks of the runtime namespace', () => {
    const { startContainer = [] } = hooks
    expect(outline(composed({ hooks: { startContainer } }).child, 'post', 'await')).toEqual([])
  })
})

describe('hookSteps()', () => {
  const input = (hook: object) => ({
    ...containerInput({
      annotations: { a: 'b' },
      hooks: { prestart: [{ path: '/h', ...hook }], startContainer: [{ path: '/h' }] },
    }),
    facts: hostFacts({ environment: ['LANG=C'] }),
  })

  test('calls a hook with what the config says, the timeout in milliseconds', () => {
    const [hook] = hookSteps(input({ args: ['h', '-x'], env: ['A=1'], timeout: 2 }), 'prestart')
    expect(hook?.args).toMatchObject({ path: '/h', args: ['h', '-x'], env: ['A=1'], timeoutMs: 2000 })
  })

  test.each([{}, { args: [] }])(
    'calls a hook %j by its path, with the environment of the runtime and no timeout',
    hook => {
      expect(hookSteps(input(hook), 'prestart')[0]?.args).toMatchObject({ args: ['/h'], env: ['LANG=C'], timeoutMs: 0 })
    },
  )

  test('keeps an empty environment empty', () => {
    expect(hookSteps(input({ env: [] }), 'prestart')[0]?.args).toMatchObject({ env: [] })
  })

  test.each([
    ['prestart', 'creating'],
    ['startContainer', 'created'],
  ] as const)('tells a %s hook that the container is %s, with a place for the pid', (kind, status) => {
    const [hook] = hookSteps(input({}), kind)
    const state = hook?.op === 'hook' ? hook.args.state.replace('\u0001', '42') : ''
    expect(JSON.parse(state)).toEqual({
      ociVersion: '1.3.0',
      id: 'c1',
      status,
      pid: 42,
      bundle: '/bundle',
      annotations: { a: 'b' },
    })
  })
})
