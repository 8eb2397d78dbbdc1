import { expect, test } from 'bun:test'
import { type ErrnoName, errnoNumber } from '../lib/errno-name.ts'
import { stepError } from '../plan/describe-failure.ts'
import { type Plan, step } from '../plan/step.ts'
import { programError } from './launch-program.ts'

function failing(name: string, op: 'access_exec' | 'execve' | 'umask', errno: ErrnoName): string | null {
  const steps = [
    step('umask', { mask: 0 }, 'set the mask'),
    step('access_exec', { paths: [name] }, 'find the program'),
    step('execve', { paths: [name], argv: [name], env: [] }, 'become the program'),
  ]
  const plan: Plan = { host: [], parent: [], child: [], exec: steps, undo: [], slotCount: 3 }
  const failure = {
    stage: 'exec',
    step: steps.findIndex(each => each.op === op),
    errno: errnoNumber(errno) ?? 0,
    message: '',
  } as const
  return programError(name, stepError(plan, failure))?.message ?? null
}

test.each([
  ['foo', 'access_exec', 'ENOENT', 'exec: "foo": executable file not found in $PATH'],
  ['/foo', 'access_exec', 'ENOENT', 'exec: "/foo": stat /foo: no such file or directory'],
  ['/etc', 'access_exec', 'EACCES', 'exec: "/etc": permission denied'],
  ['foo', 'access_exec', 'EACCES', 'exec: "foo": permission denied'],
  ['/a/b', 'access_exec', 'ENOTDIR', 'exec: "/a/b": not a directory'],
  ['/foo', 'execve', 'ENOENT', 'exec /foo: no such file or directory (the interpreter or loader that it names)'],
  ['/foo', 'execve', 'ENOEXEC', 'exec: "/foo": exec format error'],
] as const)('programError() says of %p in %s with %s what engines look for', (name, op, errno, text) => {
  expect(failing(name, op, errno)).toBe(`Cannot start the program: ${text}`)
})

test('programError() leaves errors of other steps and other kinds alone', () => {
  expect(failing('/foo', 'umask', 'ENOENT')).toBeNull()
  expect(failing('/foo', 'execve', 'E2BIG')).toBeNull()
})
