import { describe, expect, test } from 'bun:test'
import type { Process } from '../oci/runtime-spec.ts'
import { changeProcess, type ProcessChanges, processFromConfig } from './exec-process.ts'

const OWN: Process = {
  terminal: true,
  user: { uid: 5, gid: 6, umask: 0o77, additionalGids: [7] },
  args: ['server'],
  env: ['PATH=/bin', 'LANG=C'],
  cwd: '/srv',
  capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], ambient: ['CAP_KILL'] },
  rlimits: [{ type: 'RLIMIT_NOFILE', soft: 10n, hard: 20n }],
  noNewPrivileges: true,
}
const NONE: ProcessChanges = { args: ['sh'], env: [], additionalGids: [], capabilities: [] }

describe('processFromConfig()', () => {
  test("keeps the container's user, limits and directory, and takes the terminal away", () => {
    expect(processFromConfig(OWN, NONE)).toEqual({ ...OWN, args: ['sh'], terminal: false })
  })

  test('does not run the program of the container again when no command is given', () => {
    expect(processFromConfig(OWN, { ...NONE, args: [] }).args).toEqual([])
  })

  test('gives a terminal when asked', () => {
    expect(processFromConfig(OWN, { ...NONE, terminal: true }).terminal).toBe(true)
  })

  test('adds capabilities to the bounding, effective and permitted sets only', () => {
    const capabilities = ['CAP_KILL', 'CAP_CHOWN']
    expect(processFromConfig(OWN, { ...NONE, capabilities }).capabilities).toEqual({
      bounding: capabilities,
      effective: capabilities,
      permitted: ['CAP_KILL', 'CAP_CHOWN'],
      ambient: ['CAP_KILL'],
    })
  })

  test('lets an added variable replace one of the same name, and the last of two added ones win', () => {
    const env = ['LANG=de', 'A=1', 'A=2']
    expect(processFromConfig(OWN, { ...NONE, env }).env).toEqual(['PATH=/bin', 'LANG=de', 'A=2'])
  })

  test('changes the user, keeps the group when only a uid is given, and adds groups', () => {
    expect(processFromConfig(OWN, { ...NONE, user: { uid: 9 }, additionalGids: [8] }).user).toEqual({
      uid: 9,
      gid: 6,
      umask: 0o77,
      additionalGids: [7, 8],
    })
  })

  test('changes labels, directory and no_new_privs', () => {
    const changes = { cwd: '/', apparmorProfile: 'a', selinuxLabel: 's', noNewPrivileges: false }
    expect(processFromConfig(OWN, { ...NONE, ...changes })).toMatchObject(changes)
  })
})

test('changeProcess() leaves a process file as it is where no option is given', () => {
  expect(changeProcess(OWN, { ...NONE, args: [] })).toEqual(OWN)
})
