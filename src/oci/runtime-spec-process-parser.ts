/** The shape of `process` in config.json, which `exec --process` reads alone too. Source: runtime-spec › Process. */

import {
  flag,
  int32,
  integer,
  keyOf,
  list,
  matching,
  object,
  type Parsed,
  parseJson,
  required,
  type Shape,
  text,
  texts,
  uint32,
  uint64,
} from '../lib/json-shape.ts'
import { IOPRIO_CLASS } from '../linux/io-priority.ts'
import { SCHED_FLAG, SCHED_POLICY, type SchedAttr } from '../linux/scheduler.ts'
import type {
  Capabilities,
  ConsoleSize,
  ExecCpuAffinity,
  IoPriority,
  Process,
  RlimitSetting,
  User,
} from './runtime-spec.ts'

/** 64 bits by the schema; what is beyond a terminal's 16 bits is judged only when there is a terminal. */
const characters: Shape<number> = (value, place) => Number(uint64(value, place))

const cpuList: Shape<string> = matching(/^[0-9, -]*$/)

/** `process` of config.json. */
export const processShape: Shape<Process> = object<Process>({
  terminal: flag,
  consoleSize: object<ConsoleSize>({ height: required(characters), width: required(characters) }),
  user: object<User>({
    uid: uint32,
    gid: uint32,
    umask: uint32,
    additionalGids: list(uint32),
    username: text,
  }),
  args: texts,
  commandLine: text,
  env: texts,
  cwd: required(text),
  capabilities: object<Capabilities>({
    bounding: texts,
    effective: texts,
    inheritable: texts,
    permitted: texts,
    ambient: texts,
  }),
  rlimits: list(
    object<RlimitSetting>({
      type: required(matching(/^RLIMIT_[A-Z]+$/)),
      soft: required(uint64),
      hard: required(uint64),
    }),
  ),
  noNewPrivileges: flag,
  apparmorProfile: text,
  oomScoreAdj: integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  selinuxLabel: text,
  scheduler: object<SchedAttr>({
    policy: required(keyOf(SCHED_POLICY)),
    nice: int32,
    priority: int32,
    flags: list(keyOf(SCHED_FLAG)),
    runtime: uint64,
    deadline: uint64,
    period: uint64,
  }),
  ioPriority: object<IoPriority>({ class: required(keyOf(IOPRIO_CLASS)), priority: int32 }),
  execCPUAffinity: object<ExecCpuAffinity>({ initial: cpuList, final: cpuList }),
})

/**
 * Parses a lone process object, the file of `exec --process`. `name` is what errors call it.
 * @throws {BerthError} invalidArgument, naming the path of what is wrong.
 */
export function parseProcess(json: string, name = 'process.json'): Parsed<Process> {
  return parseJson(json, name, processShape)
}
