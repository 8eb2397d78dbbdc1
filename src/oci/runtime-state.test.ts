import { expect, test } from 'bun:test'
import { formatContainerState, parseRuntimeState, processStateTemplate, stateTemplate } from './runtime-state.ts'

test('stateTemplate() is the state document once the pid stands in its place', () => {
  const state = {
    ociVersion: '1.2.0',
    id: 'a"pid":0',
    status: 'creating',
    bundle: '/b',
    annotations: { k: '\u0001' },
  } as const
  const text = stateTemplate(state).replaceAll('\u0001', '42')
  expect(parseRuntimeState(text)).toEqual({ pid: 42, ...state })
})

test('processStateTemplate() is the container process state once the pid stands in its places', () => {
  const state = { ociVersion: '1.3.0', id: 'a', status: 'running', bundle: '/b' } as const
  expect(JSON.parse(processStateTemplate(state, 'meta').replaceAll('\u0001', '42'))).toEqual({
    ociVersion: '1.3.0',
    fds: ['seccompFd'],
    pid: 42,
    metadata: 'meta',
    state: { ...state, pid: 42 },
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
