/**
 * The parser of Docker's profile files, strict where dockerd is lenient: an unknown word or key is an error that names
 * its place, because a profile that is half understood protects half.
 * Source: moby/profiles seccomp.go (Seccomp, Syscall, Filter); containers-common seccomp.json (`errno`, `defaultErrno`).
 */
import { errnoNumber } from '../lib/errno-name.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { SECCOMP_ACTIONS, SECCOMP_FLAGS, SECCOMP_OPERATORS, type SeccompArgument } from '../linux/seccomp/config.ts'
import type {
  DockerProfile,
  KernelVersion,
  ProfileArchitecture,
  ProfileFilter,
  ProfileSyscall,
} from './docker-profile.ts'
import { ProfileReader } from './seccomp-profile-reader.ts'

/** Numbers of 16 digits and more may not fit a double: only files that have one pay for reading their source text. */
const LONG_NUMBER = /\d{16}/

/**
 * Parses a profile file. `name` stands for the file in errors.
 * @throws {BerthError} invalidArgument, with the path of what is wrong inside the file.
 */
export function parseDockerProfile(text: string, name: string): DockerProfile {
  let value: unknown
  try {
    value = LONG_NUMBER.test(text) ? JSON.parse(text, exactInteger) : JSON.parse(text)
  } catch (error) {
    throw new BerthError('invalidArgument', `Cannot read seccomp profile "${name}": ${messageOf(error)}`, {
      cause: error,
    })
  }
  return toDockerProfile(value, name)
}

/** Checks a profile that JSON.parse has read; integers may be bigints. @throws {BerthError} as `parseDockerProfile`. */
export function toDockerProfile(value: unknown, name: string): DockerProfile {
  const reader = new ProfileReader(value, name, '')
  reader.keys(PROFILE_KEYS)
  const { syscalls, architectures, archMap } = reader.fields
  if (architectures !== undefined && archMap !== undefined) {
    throw reader.error('has both architectures and archMap, expected one of them')
  }
  const defaultErrnoRet = errnoOf(reader, 'defaultErrno', 'defaultErrnoRet')
  return {
    defaultAction: reader.field('defaultAction').word(SECCOMP_ACTIONS),
    ...(defaultErrnoRet !== undefined && { defaultErrnoRet }),
    ...(architectures !== undefined && { architectures: reader.field('architectures').texts() }),
    ...(archMap !== undefined && { archMap: reader.field('archMap').items(toArchitecture) }),
    ...(reader.has('flags') && { flags: reader.field('flags').items(flag => flag.word(SECCOMP_FLAGS)) }),
    ...(reader.has('listenerPath') && { listenerPath: reader.field('listenerPath').text() }),
    ...(reader.has('listenerMetadata') && { listenerMetadata: reader.field('listenerMetadata').text() }),
    syscalls: syscalls === undefined ? [] : reader.field('syscalls').items(toSyscall),
  }
}

type CommentedSyscall = ProfileSyscall & { readonly comment?: string }

/**
 * The built-in profile without the checks, which a test makes instead: they take longer than compiling the filter, and
 * every start of a container would pay. Rules are converted only where JSON has another form than `DockerProfile`.
 */
export function toBuiltinProfile(value: unknown): DockerProfile {
  const reader = new ProfileReader(value, 'builtin', '')
  const profile = value as Omit<DockerProfile, 'syscalls'> & { readonly syscalls: readonly CommentedSyscall[] }
  return {
    ...profile,
    archMap: reader.field('archMap').items(toArchitecture),
    syscalls: profile.syscalls.map((rule, index) => {
      const differs = rule.args ?? rule.comment ?? rule.includes?.minKernel ?? rule.excludes?.minKernel
      return differs === undefined ? rule : toSyscall(new ProfileReader(rule, 'builtin', `syscalls[${index}]`))
    }),
  }
}

const PROFILE_KEYS = [
  'defaultAction',
  'defaultErrno',
  'defaultErrnoRet',
  'architectures',
  'archMap',
  'flags',
  'listenerPath',
  'listenerMetadata',
  'syscalls',
]
const ARCHITECTURE_KEYS = ['architecture', 'subArchitectures']
const SYSCALL_KEYS = ['name', 'names', 'action', 'errno', 'errnoRet', 'args', 'comment', 'includes', 'excludes']
const ARGUMENT_KEYS = ['index', 'value', 'valueTwo', 'op']
const FILTER_KEYS = ['caps', 'arches', 'minKernel']

function toArchitecture(reader: ProfileReader): ProfileArchitecture {
  reader.keys(ARCHITECTURE_KEYS)
  return {
    architecture: reader.field('architecture').text(),
    subArchitectures: reader.has('subArchitectures') ? reader.field('subArchitectures').texts() : [],
  }
}

function toSyscall(reader: ProfileReader): ProfileSyscall {
  reader.keys(SYSCALL_KEYS)
  const names = reader.has('names') ? reader.field('names').texts() : []
  const name = reader.has('name') ? reader.field('name').text() : ''
  if (name !== '' && names.length > 0) throw reader.error('has both name and names, expected one of them')
  if (name === '' && names.length === 0) throw reader.error('has no names, expected at least one')
  const errnoRet = errnoOf(reader, 'errno', 'errnoRet')
  return {
    names: name === '' ? names : [name],
    action: reader.field('action').word(SECCOMP_ACTIONS),
    ...(errnoRet !== undefined && { errnoRet }),
    ...(reader.has('args') && { args: reader.field('args').items(toArgument) }),
    ...(reader.has('includes') && { includes: toFilter(reader.field('includes')) }),
    ...(reader.has('excludes') && { excludes: toFilter(reader.field('excludes')) }),
  }
}

function toArgument(reader: ProfileReader): SeccompArgument {
  reader.keys(ARGUMENT_KEYS)
  return {
    index: reader.field('index').integer(5),
    value: reader.field('value').uint64(),
    ...(reader.has('valueTwo') && { valueTwo: reader.field('valueTwo').uint64() }),
    op: reader.field('op').word(SECCOMP_OPERATORS),
  }
}

function toFilter(reader: ProfileReader): ProfileFilter {
  reader.keys(FILTER_KEYS)
  const minKernel = reader.has('minKernel') ? reader.field('minKernel').text() : ''
  return {
    ...(reader.has('caps') && { caps: reader.field('caps').texts() }),
    ...(reader.has('arches') && { arches: reader.field('arches').texts() }),
    ...(minKernel !== '' && { minKernel: toKernelVersion(reader, minKernel) }),
  }
}

function toKernelVersion(reader: ProfileReader, text: string): KernelVersion {
  const match = /^(\d{1,3})\.(\d{1,3})$/.exec(text)
  const version = { kernel: Number(match?.[1] ?? 0), major: Number(match?.[2] ?? 0) }
  if (version.kernel === 0 && version.major === 0) {
    throw reader.error(`has minKernel "${text}", expected <kernel>.<major>`)
  }
  return version
}

/** An errno by name (Podman's profiles have both and the name counts) or by number. */
function errnoOf(reader: ProfileReader, nameKey: string, numberKey: string): number | undefined {
  const name = reader.has(nameKey) ? reader.field(nameKey).text() : ''
  if (name === '') return reader.has(numberKey) ? reader.field(numberKey).integer(0xffff) : undefined
  const number = errnoNumber(name)
  if (number === undefined) throw reader.error(`has ${nameKey} "${name}", expected the name of an errno`)
  return number
}

function exactInteger(_key: string, value: unknown, context?: { readonly source: string }): unknown {
  const source = context?.source ?? ''
  return typeof value === 'number' && !Number.isSafeInteger(value) && /^\d+$/.test(source) ? BigInt(source) : value
}
