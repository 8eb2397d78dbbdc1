import { describe, expect, test } from 'bun:test'
import { devicePolicy } from './device-rules.ts'
import { annotationProperties, deviceProperties, resourceProperties, type UnitProperty } from './systemd-properties.ts'
import { expandSlice, parseSystemdPath } from './systemd-unit.ts'

function plain(properties: readonly UnitProperty[]): Record<string, unknown> {
  return Object.fromEntries(properties.map(([name, { value }]) => [name, value]))
}

describe('expandSlice()', () => {
  for (const [slice, path] of [
    ['-.slice', '/'],
    ['a.slice', '/a.slice'],
    ['a-b-c.slice', '/a.slice/a-b.slice/a-b-c.slice'],
  ] as const) {
    test(`expands ${slice}`, () => expect(expandSlice(slice)).toBe(path))
  }
  for (const slice of ['', '.slice', 'a', 'a--b.slice', '-a.slice', 'a/b.slice', '...slice']) {
    test(`rejects "${slice}"`, () => expect(() => expandSlice(slice)).toThrow(`Cannot use slice "${slice}"`))
  }
})

describe('parseSystemdPath()', () => {
  test('reads slice:prefix:name', () => {
    expect(parseSystemdPath('a-b.slice:cri:x', 'id')).toEqual({ slice: 'a-b.slice', unit: 'cri-x.scope' })
    expect(parseSystemdPath(':cri:x', 'id')).toEqual({ slice: '', unit: 'cri-x.scope' })
    expect(parseSystemdPath('a.slice::pod.slice', 'id')).toEqual({ slice: 'a.slice', unit: 'pod.slice' })
    expect(parseSystemdPath(undefined, 'id')).toEqual({ slice: '', unit: 'berth-id.scope' })
  })
  for (const path of ['/a/b', 'a.slice:b', 'a.slice:b:', 'x:y:z', 'a.slice:b:../c']) {
    test(`rejects "${path}"`, () => expect(() => parseSystemdPath(path, 'id')).toThrow())
  }
})

describe('resourceProperties()', () => {
  const resources = {
    cpu: { shares: 1024, quota: 12_345, period: 100_000, cpus: '0-1' },
    memory: { limit: 64, swap: 96, reservation: 32 },
    pids: { limit: 0 },
  }
  test('speaks v2', () => {
    expect(plain(resourceProperties(resources, 2))).toEqual({
      MemoryMax: 64n,
      MemoryLow: 32n,
      MemorySwapMax: 32n,
      CPUWeight: 100n,
      CPUQuotaPeriodUSec: 100_000n,
      CPUQuotaPerSecUSec: 130_000n,
      TasksMax: 1n,
      AllowedCPUs: new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0]),
    })
  })
  test('speaks v1', () => {
    const properties = plain(resourceProperties(resources, 1))
    expect(properties).toMatchObject({ MemoryLimit: 64n, CPUShares: 1024n })
    expect(properties).not.toHaveProperty('MemoryMax')
  })
  test('lifts limits', () => {
    const max = 18_446_744_073_709_551_615n
    const lifted = { memory: { limit: -1 }, pids: { limit: -1n }, cpu: { quota: -1 } }
    expect(plain(resourceProperties(lifted, 2))).toEqual({
      MemoryMax: max,
      MemorySwapMax: max,
      CPUQuotaPerSecUSec: max,
      TasksMax: max,
    })
  })
})

describe('deviceProperties()', () => {
  test('names devices by path', () => {
    const policy = devicePolicy([
      { allow: true, type: 'c', major: 1, minor: 3, access: 'rw' },
      { allow: true, type: 'c', major: 136, access: 'rw' },
      { allow: true, type: 'b', access: 'm' },
    ])
    expect(deviceProperties(policy).at(-1)?.[1].value).toEqual([
      ['block-*', 'm'],
      ['/dev/char/1:3', 'rw'],
      ['char-136', 'rw'],
    ])
  })
  test('leaves to the own filter what systemd can not say', () => {
    const policy = devicePolicy([{ allow: true, type: 'c', minor: 3, access: 'r' }])
    expect(plain(deviceProperties(policy))).toEqual({ DeviceAllow: [], DevicePolicy: 'auto' })
  })
})

describe('annotationProperties()', () => {
  test('reads the properties that may be set', () => {
    const annotations = {
      'org.systemd.property.CollectMode': "'inactive-or-failed'",
      'org.systemd.property.TimeoutStopSec': 'uint64 7',
      'org.systemd.property.RuntimeMaxUSec': '9',
      other: 'x',
    }
    expect(plain(annotationProperties(annotations))).toEqual({
      CollectMode: 'inactive-or-failed',
      TimeoutStopUSec: 7_000_000n,
      RuntimeMaxUSec: 9n,
    })
  })
  for (const name of ['SuccessAction', 'FailureAction', 'ExecStop', 'Slice', 'PIDs', 'DeviceAllow', 'constructor']) {
    test(`refuses ${name} (CVE-2024-3154)`, () => {
      const annotations = { [`org.systemd.property.${name}`]: "'reboot'" }
      expect(() => annotationProperties(annotations)).toThrow(
        `"org.systemd.property.${name}": not a property that may be set`,
      )
    })
  }
  test('rejects a malformed value', () => {
    expect(() => annotationProperties({ 'org.systemd.property.TimeoutStopUSec': "'x'" })).toThrow('malformed value')
  })
})
