import { expect, test } from 'bun:test'
import type { NamespaceType } from './namespaces.ts'
import { sysctlNamespace, sysctlPath } from './sysctl.ts'

const good: readonly (readonly [name: string, path: string, type: NamespaceType | undefined])[] = [
  ['net.ipv4.ip_forward', 'net/ipv4/ip_forward', 'network'],
  ['net/ipv4/ip_forward', 'net/ipv4/ip_forward', 'network'],
  ['net.ipv4.conf.eth0/100.rp_filter', 'net/ipv4/conf/eth0.100/rp_filter', 'network'],
  ['net/ipv4/conf/eth0.100/rp_filter', 'net/ipv4/conf/eth0.100/rp_filter', 'network'],
  ['kernel.shm_rmid_forced', 'kernel/shm_rmid_forced', 'ipc'],
  ['fs.mqueue.msg_max', 'fs/mqueue/msg_max', 'ipc'],
  ['kernel.domainname', 'kernel/domainname', 'uts'],
  ['user.max_user_namespaces', 'user/max_user_namespaces', 'user'],
  ['kernel.core_pattern', 'kernel/core_pattern', undefined],
  ['kernel.shmmax.x', 'kernel/shmmax/x', undefined],
  ['vm.swappiness', 'vm/swappiness', undefined],
]
test.each(good)('sysctlPath() reads %p', (name, path, type) => {
  expect(sysctlPath(name)).toBe(path)
  expect(sysctlNamespace(path)).toBe(type)
})

test.each([
  '',
  'net',
  'net.',
  '.net.x',
  'net..x',
  'net/../kernel/core_pattern',
  'net.//.kernel.core_pattern',
  'net.x=1',
  'net.x+kernel.core_pattern',
  'net.a b',
  'net.a\nb',
  'net.\0',
  '/net/x',
  '../x',
])('sysctlPath() refuses %p', name => {
  expect(sysctlPath(name)).toBeUndefined()
})
