import { describe, expect, test } from 'bun:test'
import { EAGAIN, EINVAL, ENOENT, ENOSPC, EPERM } from '../lib/errno.ts'
import { errnoName } from '../lib/errno-name.ts'
import { BerthError, type ErrorCategory } from '../lib/error.ts'
import { describeTail, stepError } from './describe-failure.ts'
import { hintFor } from './hints.ts'
import { planTail } from './plan-tail.ts'
import { type Plan, type Step, step } from './step.ts'
import { programOf, StepError } from './step-error.ts'

const listener = { index: 3, name: 'start socket' }
const PLAN: Plan = {
  host: [step('mkdir', { dir: null, path: '/run/x', mode: 0o700 }, 'make the directory')],
  parent: [],
  child: [],
  exec: [
    step('sigreset', {}, 'leave no signal blocked'),
    step('wait_start', { listener }, 'wait for start'),
    step('setresuid', { uid: 5 }, 'become the user'),
    step('execve', { paths: ['/bin/sh'], argv: ['sh', '-l'], env: ['TOKEN=secret'] }, 'become the program'),
  ],
  undo: [],
  slotCount: 4,
}

function failureOf(stage: 'host' | 'exec' | null, at: number, errno: number, message = '') {
  return stepError(PLAN, { stage, step: at, errno, message })
}

describe('stepError()', () => {
  test('says why the step was there, which it was, and what the kernel answered', () => {
    const error = failureOf('host', 0, EPERM)
    expect(error).toBeInstanceOf(StepError)
    expect(error).toBeInstanceOf(BerthError)
    expect(error.message).toBe(
      'Cannot make the directory: step 0 of stage host: mkdir(AT_FDCWD, "/run/x", 0700) = -1 EPERM (Operation not permitted)',
    )
    expect(error).toMatchObject({ stage: 'host', step: 0, op: 'mkdir', errno: 'EPERM', category: 'forbidden' })
  })

  test('adds what the kernel or a hook said, and a hint where the errno misleads', () => {
    expect(failureOf('exec', 2, EINVAL, ' more \n').message).toEndWith(
      "setresuid(5) = -1 EINVAL (Invalid argument): more; the user has no mapping in the container's user namespace",
    )
  })

  test.each<[number, ErrorCategory]>([
    [ENOENT, 'notFound'],
    [EPERM, 'forbidden'],
    [13, 'forbidden'],
    [ENOSPC, 'unavailable'],
    [12, 'unavailable'],
    [EAGAIN, 'unavailable'],
    [EINVAL, 'internal'],
  ])('puts errno %p into the category %s', (errno, category) => {
    expect(failureOf('host', 0, errno).category).toBe(category)
  })

  test('says that the plan was refused where no step is to blame', () => {
    const error = failureOf(null, 0xffff_ffff, EINVAL, 'too long')
    expect(error.message).toBe('Cannot run the plan: berth-init refused it: EINVAL (Invalid argument): too long')
    expect(error.op).toBeNull()
  })

  test('names a step of the tail as the whole plan would', async () => {
    const failure = { stage: 'exec', step: 3, errno: ENOENT, message: '' } as const
    const fromTail = stepError(await planTail(PLAN), failure)
    expect(fromTail.message).toBe(stepError(PLAN, failure).message)
    expect(fromTail.op).toBe('execve')
  })

  test('knows of no step before the tail', () => {
    const failure = { stage: 'exec', step: 0, errno: ENOENT, message: '' } as const
    expect(stepError(describeTail(PLAN, 2), failure).op).toBeNull()
  })
})

describe('planTail()', () => {
  test('is what is left after wait_start, and the program', async () => {
    const tail = await planTail(PLAN)
    expect(tail).toMatchObject({ first: 2, program: 'sh', steps: [{ op: 'setresuid' }, { op: 'execve' }] })
    expect(tail.steps[0]).toEqual({ op: 'setresuid', why: 'become the user', text: 'setresuid(5)' })
  })

  test('is empty for a plan that waits for no start', async () => {
    const exec: readonly Step[] = PLAN.exec.filter(({ op }) => op !== 'wait_start')
    expect(await planTail({ ...PLAN, exec })).toEqual({ first: 0, steps: [], program: '' })
  })
})

describe('programOf()', () => {
  test('is the first argument of the execve at the end, or nothing', () => {
    expect(programOf(PLAN)).toBe('sh')
    expect(programOf({ ...PLAN, exec: [] })).toBe('')
  })
})

describe('hintFor()', () => {
  test.each([
    ['mount', ENOSPC, '/proc/sys/fs/mount-max'],
    ['clone', ENOSPC, 'namespaces'],
    ['clone', EAGAIN, 'processes'],
    ['mkdir', ENOSPC, 'no space left'],
  ] as const)('explains %s with errno %p', (op, errno, hint) => {
    expect(hintFor(op, errnoName(errno))).toContain(hint)
  })

  test('has nothing to add where the errno says it', () => {
    expect(hintFor('mkdir', 'ENOENT')).toBeUndefined()
  })
})
