import { expect, test } from 'bun:test'
import { formatJson } from '../lib/json-shape.ts'
import { parseRuntimeFeatures } from '../oci/runtime-features.ts'
import { describeFeatures, kernelSeccompFlags } from './features.ts'

test('describeFeatures() is a features document of the spec', () => {
  const features = describeFeatures('1.2.3')
  expect(parseRuntimeFeatures(formatJson(features))).toEqual(features)
  expect(features.annotations).toEqual({ 'run.berth.version': '1.2.3' })
  expect(features.linux?.seccomp?.archs).toEqual([
    'SCMP_ARCH_AARCH64',
    'SCMP_ARCH_ARM',
    'SCMP_ARCH_X32',
    'SCMP_ARCH_X86',
    'SCMP_ARCH_X86_64',
  ])
})

test('kernelSeccompFlags() has WAIT_KILLABLE_RECV from Linux 5.19 on', () => {
  expect(kernelSeccompFlags([5, 18])).not.toContain('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV')
  expect(kernelSeccompFlags([5, 19])).toContain('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV')
  expect(kernelSeccompFlags([6, 1])).toContain('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV')
})
