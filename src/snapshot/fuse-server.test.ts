import { expect, test } from 'bun:test'
import { printStep } from '../plan/print.ts'
import { fuseServerPlan } from './fuse-server.ts'

const overlay = { directory: '/c', lowers: ['/l/upper', '/l/lower'], ids: { start: 1_400_000, size: 65_536 } }

test('fuseServerPlan() attaches idmapped layers, mounts what it will serve, and gives up privileges before it executes', () => {
  const { host } = fuseServerPlan('/usr/bin/fuse-overlayfs', overlay)
  const steps = host.map(printStep)
  const at = (text: string): number => steps.findIndex(line => line.includes(text))
  expect(at('unshare(')).toBeLessThan(at('open_tree('))
  expect(steps.filter(line => line.includes('MOUNT_ATTR_IDMAP'))).toHaveLength(2)
  expect(at('"fd=3"')).toBeLessThan(at('cap_bound('))
  expect(at('cap_bound(')).toBeLessThan(at('execve('))
  expect(at('PR_SET_NO_NEW_PRIVS')).toBeLessThan(at('execve('))
  expect(steps.at(-1)).toContain('"lowerdir=fuse/0:fuse/1,upperdir=upper,workdir=work", "/dev/fd/3"')
})

test('fuseServerPlan() maps no ids where the container has those of the host', () => {
  const { host } = fuseServerPlan('/usr/bin/fuse-overlayfs', { ...overlay, ids: null })
  expect(host.filter(({ op }) => op === 'userns')).toEqual([])
  expect(host.map(printStep).join('\n')).not.toContain('MOUNT_ATTR_IDMAP')
})
