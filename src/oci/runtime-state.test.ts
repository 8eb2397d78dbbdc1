import { expect, test } from 'bun:test'
import { formatContainerState, parseRuntimeState, seccompStateAroundPid, stateAroundPid } from './runtime-state.ts'

test('stateAroundPid() is the state document with a pid between', () => {
  const state = { id: 'a"b', status: 'creating', bundle: '/b', annotations: { k: 'v' } } as const
  const { before, after } = stateAroundPid(state)
  expect(parseRuntimeState(`${before}42${after}`)).toEqual({ ociVersion: '1.3.0', pid: 42, ...state })
})

test('seccompStateAroundPid() is the container process state with a pid between', () => {
  const { before, after } = seccompStateAroundPid({ id: 'a', status: 'running', pid: 7, bundle: '/b' }, 'meta')
  expect(JSON.parse(`${before}42${after}`)).toEqual({
    ociVersion: '1.3.0',
    fds: ['seccompFd'],
    pid: 42,
    metadata: 'meta',
    state: { ociVersion: '1.3.0', id: 'a', status: 'running', pid: 7, bundle: '/b' },
  })
})

test("formatContainerState() prints runc's form", () => {
  const text = formatContainerState({
    ociVersion: '1.3.0',
    id: 'a',
    pid: 0,
    status: 'stopped',
    bundle: '/b',
    rootfs: '/b/rootfs',
    created: '2026-11-23T14:00:00Z',
    owner: 'root',
  })
  expect(text).toBe(`{
  "ociVersion": "1.3.0",
  "id": "a",
  "pid": 0,
  "status": "stopped",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-11-23T14:00:00Z",
  "owner": "root"
}
`)
})

test.each(['{}', '{"ociVersion":"1.0.0","id":"a","status":"gone","bundle":"/b"}', '[]'])(
  'parseRuntimeState() refuses %p',
  json => {
    expect(() => parseRuntimeState(json)).toThrow('Cannot parse state: ')
  },
)
