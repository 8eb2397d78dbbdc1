import { expect, test } from 'bun:test'
import { formatJson } from '../lib/json-shape.ts'
import { parseRuntimeFeatures, runtimeFeatures } from './runtime-features.ts'

test('runtimeFeatures() is a features document of the spec', () => {
  const features = runtimeFeatures({
    version: '0.1.0',
    seccompArchitectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
    supportedSeccompFlags: ['SECCOMP_FILTER_FLAG_LOG'],
    cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
    intelRdt: { enabled: false },
    selinux: false,
    unsafeAnnotations: ['org.systemd.property.'],
  })
  expect(parseRuntimeFeatures(formatJson(features))).toEqual(features)
  expect(features.ociVersionMax).toBe('1.3.0')
  expect(features.linux?.capabilities?.length).toBe(41)
  expect(features.linux?.namespaces).toEqual(['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'])
  expect(features.linux?.seccomp?.archs).toEqual(['SCMP_ARCH_AARCH64', 'SCMP_ARCH_X86_64'])
})
