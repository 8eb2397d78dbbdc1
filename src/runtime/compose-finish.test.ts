import { expect, test } from 'bun:test'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { composeFinish } from './compose-finish.ts'
import type { CreatedContainer } from './create.ts'

const HIERARCHY = { version: 1, controllers: ['pids'], mountPoint: '/sys/fs/cgroup/pids', root: '/', own: '/' } as const
const CGROUP = {
  manager: 'cgroupfs',
  directories: [
    { hierarchy: HIERARCHY, dir: '/sys/fs/cgroup/pids/c' },
    { hierarchy: { ...HIERARCHY, version: 2 }, dir: '/sys/fs/cgroup/unified/c' },
  ],
} as const

function container(rest: Partial<RuntimeSpec> = {}, record: object = {}): CreatedContainer {
  const spec: RuntimeSpec = { ociVersion: '1.3.0', ...rest }
  const known = { directory: { spec: () => spec }, record: { id: 'c', cgroup: CGROUP, netDevices: [], ...record } }
  return known as unknown as CreatedContainer
}

const plan = (created: CreatedContainer) => composeFinish('/run/berth', created, ['/opt/berth', 'runtime', '--debug'])
const opsOf = (created: CreatedContainer) => plan(created).host.map(({ op }) => op)

test('composeFinish() removes the cgroups, then the state, and passes over the call', () => {
  const { host } = plan(container())
  expect(host.map(({ op }) => op)).toEqual(['unlink', 'unlink', 'open', 'remove_tree', 'call'])
  expect(host.map(({ skipOnSuccess = 0 }) => skipOnSuccess)).toEqual([0, 0, 0, 1, 0])
})

test('composeFinish() has every failure lead to the call, which fails for itself', () => {
  const { host } = plan(container())
  for (const [index, { skipOnFailure, tolerate }] of host.slice(0, -1).entries())
    expect({ next: index + 1 + (skipOnFailure ?? 0), tolerate }).toEqual({ next: host.length - 1, tolerate: 'all' })
  expect(host.at(-1)).toMatchObject({
    args: { path: '/opt/berth', args: ['/opt/berth', 'runtime', '--debug', 'delete', '--force', 'c'] },
  })
  expect(host.at(-1)).not.toHaveProperty('tolerate')
})

test.each<[string, CreatedContainer]>([
  ['poststop hooks', container({ hooks: { poststop: [{ path: '/bin/true' }] } })],
  ['network devices', container({}, { netDevices: [{}] })],
  ['a unit of systemd', container({}, { cgroup: { ...CGROUP, manager: 'systemd' } })],
])('composeFinish() leaves a container with %s to the call alone', (_, created) => {
  expect(opsOf(created)).toEqual(['call'])
})
