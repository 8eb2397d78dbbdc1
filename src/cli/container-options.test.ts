import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ContainerOptions } from '../engine/container-options.ts'
import { CONTAINER_OPTIONS } from './container-grammar.ts'
import { readContainerOptions } from './container-options.ts'
import { parseOptions } from './options.ts'

const directory = mkdtempSync(join(tmpdir(), 'berth-options-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const envFile = join(directory, 'env')
writeFileSync(envFile, '# comment\n\n  A=1\nB=x=y \nBERTH_TEST_UNSET\n')

function read(...args: readonly string[]): ContainerOptions {
  return readContainerOptions(
    parseOptions({ name: 'run', operands: 'IMAGE', help: '', options: CONTAINER_OPTIONS, stopAtOperand: true }, args),
  )
}

/** Options that say how `berth run` behaves, not what the container is; test/engine has their effects. */
const OF_THE_COMMAND: readonly string[] = ['cidfile', 'help', 'quiet', 'sig-proxy']

/** For each option a value, and the field that it changes. */
const EFFECTS: Readonly<Record<string, readonly [value: string | null, field: keyof ContainerOptions]>> = {
  'add-host': ['a:1.2.3.4', 'extraHosts'],
  annotation: ['a=b', 'annotations'],
  'blkio-weight': ['10', 'resources'],
  'cap-add': ['SYS_ADMIN', 'capAdd'],
  'cap-drop': ['CHOWN', 'capDrop'],
  'cgroup-parent': ['/x', 'cgroupParent'],
  'cpu-shares': ['2', 'resources'],
  cpus: ['1.5', 'resources'],
  'cpuset-cpus': ['0', 'resources'],
  'cpuset-mems': ['0', 'resources'],
  device: ['/dev/zero', 'devices'],
  domainname: ['x', 'domainname'],
  entrypoint: ['/x', 'entrypoint'],
  env: ['A=b', 'env'],
  'env-file': [envFile, 'env'],
  'group-add': ['5', 'groupAdd'],
  hostname: ['x', 'hostname'],
  init: [null, 'init'],
  interactive: [null, 'interactive'],
  label: ['a', 'labels'],
  memory: ['64m', 'resources'],
  'memory-reservation': ['64m', 'resources'],
  'memory-swap': ['-1', 'resources'],
  name: ['x1', 'name'],
  network: ['host', 'network'],
  'oom-score-adj': ['5', 'oomScoreAdj'],
  'pids-limit': ['5', 'resources'],
  platform: ['linux/arm64', 'image'],
  privileged: [null, 'privileged'],
  pull: ['never', 'image'],
  'read-only': [null, 'readonlyRoot'],
  rm: [null, 'autoRemove'],
  rootfs: [null, 'image'],
  'security-opt': ['no-new-privileges=false', 'noNewPrivileges'],
  'shm-size': ['1m', 'shmSizeBytes'],
  sysctl: ['kernel.msgmax=1', 'sysctl'],
  tmpfs: ['/x', 'tmpfs'],
  tty: [null, 'terminal'],
  ulimit: ['nofile=1', 'ulimits'],
  user: ['5', 'user'],
  userns: ['host', 'userns'],
  volume: ['/a:/b', 'binds'],
  workdir: ['/x', 'workdir'],
}

describe('every option of the grammar', () => {
  test('is one of the command, or has a field', () => {
    const known = [...Object.keys(EFFECTS), ...OF_THE_COMMAND]
    expect(CONTAINER_OPTIONS.map(({ name }) => name).toSorted()).toEqual(known.toSorted())
  })

  test.each(Object.entries(EFFECTS))('--%s changes the options', (name, [value, field]) => {
    const base = name === 'memory-swap' ? ['--memory', '64m'] : []
    const image = name === 'platform' || name === 'pull' ? 'debian' : 'host'
    const changed = read(...base, `--${name}`, ...(value === null ? [] : [value]), image)
    const before = read(...base, image)
    expect(changed[field]).not.toEqual(before[field])
  })

  test('that has a letter has one of its own', () => {
    const letters = CONTAINER_OPTIONS.flatMap(({ short }) => short ?? [])
    expect(new Set(letters).size).toBe(letters.length)
  })
})

const good: readonly (readonly [args: readonly string[], options: Partial<ContainerOptions>])[] = [
  [['host'], { image: { kind: 'host' }, command: [], userns: 'auto', network: 'none', noNewPrivileges: true }],
  [['host', 'sh', '-c', '-t'], { command: ['sh', '-c', '-t'], terminal: false }],
  [['debian:12'], { image: { kind: 'stored', text: 'debian:12', platform: null, pull: 'missing' } }],
  [['oci:/a/b'], { image: { kind: 'layout', path: '/a/b', tag: null, platform: null } }],
  [['oci:/a/b:v1'], { image: { kind: 'layout', path: '/a/b', tag: 'v1', platform: null } }],
  [['oci:/a:b/c'], { image: { kind: 'layout', path: '/a:b/c', tag: null, platform: null } }],
  [['--rootfs', '/a/./b'], { image: { kind: 'rootfs', path: '/a/b' } }],
  [['--entrypoint', '', 'host'], { entrypoint: [] }],
  [['--env-file', envFile, '-e', 'A=2', 'host'], { env: ['A=1', 'B=x=y ', 'A=2'] }],
  [['-e', 'BERTH_TEST_UNSET', 'host'], { env: [] }],
  [['-e', 'A=', 'host'], { env: ['A='] }],
  [['-l', 'a=b=c', '-l', 'd', 'host'], { labels: { a: 'b=c', d: '' } }],
  [['--cap-add', 'A,B', '--cap-add', 'C', 'host'], { capAdd: ['A', 'B', 'C'] }],
  [['--ulimit', 'nofile=5:-1', 'host'], { ulimits: [{ type: 'RLIMIT_NOFILE', soft: 5n, hard: 2n ** 64n - 1n }] }],
  [
    ['--ulimit', 'core=unlimited', 'host'],
    { ulimits: [{ type: 'RLIMIT_CORE', soft: 2n ** 64n - 1n, hard: 2n ** 64n - 1n }] },
  ],
  [
    ['-m', '64m', '--memory-swap', '128m', 'host'],
    { resources: { memoryBytes: 2n ** 26n, memorySwapBytes: 2n ** 27n } },
  ],
  [['--pids-limit=-1', 'host'], { resources: { pidsLimit: -1n } }],
  [['--privileged', 'host'], { userns: 'host', noNewPrivileges: false, seccomp: null, maskPaths: false }],
  [['--privileged', '--userns=auto', 'host'], { userns: 'auto', privileged: true }],
  [
    ['--privileged', '--security-opt', 'no-new-privileges', '--security-opt', 'seccomp=builtin', 'host'],
    { noNewPrivileges: true, seccomp: 'builtin' },
  ],
]
test.each(good)('readContainerOptions() reads %j', (args, options) => {
  expect(read(...args)).toMatchObject(options)
})

const bad: readonly (readonly [args: readonly string[], message: string])[] = [
  [[], 'Cannot run a container: no image given'],
  [['./nosuch'], 'Cannot find image "./nosuch"'],
  [['--pull=now', 'x'], 'Cannot use --pull "now"'],
  [['--platform=linux/amd64', 'host'], 'Cannot use --platform'],
  [['--pull=always', '--rootfs', '/x'], 'Cannot use --pull'],
  [['--network', 'bridge', 'host'], 'Cannot use --network "bridge": expected none or host'],
  [['--userns', 'keep-id', 'host'], 'Cannot use --userns "keep-id": expected auto or host'],
  [['-w', 'a', 'host'], 'Cannot use working directory "a": expected an absolute path'],
  [['-e', '=x', 'host'], 'Cannot set environment variable "=x": it has no name'],
  [['--env-file', '/nosuch', 'host'], 'Cannot read environment file "/nosuch": ENOENT'],
  [['-l', '=x', 'host'], 'Cannot use --label "=x": expected KEY=VALUE'],
  [['--sysctl', 'a', 'host'], 'Cannot use --sysctl "a": expected KEY=VALUE'],
  [['--annotation', 'a', 'host'], 'Cannot use --annotation "a"'],
  [
    ['--oom-score-adj', '1001', 'host'],
    'Cannot use --oom-score-adj "1001": expected a whole number from -1000 to 1000',
  ],
  [['--oom-score-adj', '', 'host'], 'Cannot use --oom-score-adj ""'],
  [['--pids-limit', '1.5', 'host'], 'Cannot use --pids-limit "1.5"'],
  [['--blkio-weight', '9', 'host'], 'Cannot use --blkio-weight "9"'],
  [['--cpu-shares', '1', 'host'], 'Cannot use --cpu-shares "1"'],
  [['--cpus', '0', 'host'], 'Cannot use --cpus "0": expected a number of at least 0.01'],
  [['--cpus', 'all', 'host'], 'Cannot use --cpus "all"'],
  [['--cpus', 'Infinity', 'host'], 'Cannot use --cpus "Infinity"'],
  [['-m', '5m', 'host'], 'Cannot use --memory "5m": expected at least 6m'],
  [['-m', 'lots', 'host'], 'Cannot use --memory "lots"'],
  [['--memory-swap', '64m', 'host'], 'Cannot use --memory-swap: it needs --memory'],
  [
    ['-m', '64m', '--memory-swap', '63m', 'host'],
    'Cannot use --memory-swap "63m": it includes --memory, which is more',
  ],
  [['--shm-size', '-1', 'host'], 'Cannot use --shm-size "-1"'],
  [['--ulimit', 'nofile', 'host'], 'Cannot use --ulimit "nofile": expected TYPE=SOFT[:HARD]'],
  [['--ulimit', 'nosuch=5', 'host'], 'Cannot use --ulimit "nosuch=5"'],
  [['--ulimit', 'nofile=5:x', 'host'], 'Cannot use --ulimit "nofile=5:x"'],
  [['--ulimit', 'nofile=6:5', 'host'], 'Cannot use --ulimit "nofile=6:5": the soft limit is above the hard one'],
]
test.each(bad)('readContainerOptions() refuses %j', (args, message) => {
  expect(() => read(...args)).toThrow(message)
})
