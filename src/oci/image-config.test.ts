import { describe, expect, test } from 'bun:test'
import { type ImageDocument, parseImageConfig } from './image-config.ts'
import { formatImageConfig } from './image-config-format.ts'

const digest = `sha256:${'0'.repeat(64)}`
const bare = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digest] } }

function read(document: unknown): ImageDocument {
  return parseImageConfig(JSON.stringify(document), 'it.json')
}

function written(document: ImageDocument): unknown {
  return JSON.parse(Buffer.from(formatImageConfig(document)).toString())
}

/** All that Docker's and the OCI's documents have, in the order in which formatImageConfig() writes it. */
const full = {
  created: '2024-02-29T12:34:56.123456789Z',
  author: 'somebody',
  architecture: 'arm',
  variant: 'v7',
  os: 'linux',
  'os.version': '1',
  'os.features': ['x'],
  config: {
    User: 'app:app',
    ExposedPorts: { '443/tcp': {}, '80/tcp': {} },
    Env: ['A=1', 'B'],
    Entrypoint: ['/entry'],
    Cmd: ['sh'],
    Healthcheck: {
      Test: ['CMD-SHELL', 'true'],
      Interval: 30_000_000_000,
      Timeout: 5_000_000_000,
      StartPeriod: 1,
      StartInterval: 2,
      Retries: 3,
    },
    Volumes: { '/data': {} },
    WorkingDir: '/srv',
    Labels: { a: 'b', c: '' },
    StopSignal: '15',
    ArgsEscaped: true,
    OnBuild: ['RUN true'],
    Shell: ['/bin/bash', '-c'],
    StopTimeout: 0,
    CpuShares: 512,
    Hostname: 'builder',
    Memory: 2n ** 62n,
    MemorySwap: -1,
    Tty: false,
    'com.example.extension': { nested: [1, null] },
  },
  rootfs: { type: 'layers', diff_ids: [digest] },
  history: [{ created: '2024-02-29T12:34:56Z', created_by: 'RUN x', comment: 'c', author: 'a', empty_layer: true }],
  container_config: { Cmd: ['sh'] },
  docker_version: '20.10.24',
}

const fullJson = JSON.stringify(full, (_key, value) => (typeof value === 'bigint' ? `big${value}` : value)).replace(
  /"big(\d+)"/g,
  '$1',
)

describe('formatImageConfig()', () => {
  test('writes all that parseImageConfig() has read, byte by byte', () => {
    const document = parseImageConfig(fullJson, 'it.json')
    expect(Buffer.from(formatImageConfig(document)).toString()).toBe(fullJson)
  })

  test('writes the same bytes for the same document, whatever its order', () => {
    const turned = Object.fromEntries(
      Object.entries(JSON.parse(fullJson))
        .map(([name, value]) => [
          name,
          name === 'config' ? Object.fromEntries(Object.entries(Object(value)).reverse()) : value,
        ])
        .reverse(),
    )
    expect(formatImageConfig(read(turned))).toEqual(formatImageConfig(read(JSON.parse(fullJson))))
  })

  test('leaves out what says nothing', () => {
    const empty = { Env: null, Cmd: [], Labels: {}, Volumes: null, User: '', WorkingDir: '', Entrypoint: null }
    expect(written(read({ ...bare, variant: '', 'os.features': [], config: empty, history: [] }))).toEqual({
      ...bare,
      config: {},
    })
  })
})

describe('parseImageConfig()', () => {
  test("reads Docker's part of the config", () => {
    expect(parseImageConfig(fullJson, 'it.json').config).toMatchObject({
      healthcheck: {
        test: ['CMD-SHELL', 'true'],
        intervalNanoseconds: 30_000_000_000,
        timeoutNanoseconds: 5_000_000_000,
        startPeriodNanoseconds: 1,
        startIntervalNanoseconds: 2,
        retries: 3,
      },
      shell: ['/bin/bash', '-c'],
      onBuild: ['RUN true'],
      argsEscaped: true,
      stopTimeoutSeconds: 0,
    })
  })

  test('takes null for the empty object of a port or a volume', () => {
    const config = { ExposedPorts: { '80/tcp': null }, Volumes: { '/data': null } }
    expect(read({ ...bare, config }).config).toMatchObject({ exposedPorts: ['80/tcp'], volumes: ['/data'] })
  })

  test('keeps a property __proto__ as one like others', () => {
    const document = parseImageConfig(`${JSON.stringify(bare).slice(0, -1)},"__proto__":{"x":1}}`, 'it.json')
    expect(Object.keys(document.others ?? {})).toEqual(['__proto__'])
    expect(Buffer.from(formatImageConfig(document)).toString()).toContain('"__proto__":{"x":1}')
  })

  const deep = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth))
  test.each<[string, unknown, RegExp]>([
    [
      'a port that is a number',
      { ...bare, config: { ExposedPorts: { '80/tcp': 1 } } },
      /ExposedPorts\["80\/tcp"\] is 1/,
    ],
    ['a healthcheck that is a text', { ...bare, config: { Healthcheck: 'x' } }, /config.Healthcheck is "x"/],
    ['a broken interval', { ...bare, config: { Healthcheck: { Interval: 1.5 } } }, /Healthcheck.Interval is 1.5/],
    ['a NUL in the shell', { ...bare, config: { Shell: ['\0'] } }, /config.Shell\[0\]/],
    ['an extension of 65 levels', { ...bare, x: deep(65) }, /nests at most 64 deep/],
    ['an extension of 1,000 levels', { ...bare, config: { x: deep(1000) } }, /nests at most 64 deep/],
  ])('refuses %s', (_, document, message) => expect(() => read(document)).toThrow(message))
})
