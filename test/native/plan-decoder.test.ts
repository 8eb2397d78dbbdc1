import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { argsOf, encodePlan } from '../../src/plan/encode.ts'
import { OPS, type OpName, WIRE } from '../../src/plan/ops.ts'
import type { Plan, Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { clone, Init, make, plan, run, s, slot } from './init-driver.ts'

const EINVAL = 22
const TIME_LIMIT_MS = 120_000
const FUZZ_MUTATIONS = 150_000
const scratch = mkdtempSync(join(tmpdir(), 'berth-decoder-'))
const HEADER_BYTES = 32

afterAll(() => rmSync(scratch, { recursive: true }))
beforeAll(() => {
  make('berth-init')
  make('fuzz-plan')
}, TIME_LIMIT_MS)

const SAMPLES = {
  i: -1,
  s: '/some/path',
  b: Uint8Array.of(1, 2, 3),
  l: ['a', '', 'longer text'],
  f: slot(1),
  o: slot(2),
}
const SPECIAL = { ids: [1, 2], slots: [slot(0)], joins: [{ slot: slot(0), type: 1 }] }
const LAST_OF_PARENT: readonly OpName[] = ['wait_child', 'serve']
const ONLY_ONCE: readonly OpName[] = ['clone']
const OF_CHILD: readonly OpName[] = ['wait_start']
const OF_LAUNCHER: readonly OpName[] = ['ask', 'userns']

/** A step of any kind, with made-up arguments: for the decoder, not to be run. */
function sample(op: OpName): Step {
  const kinds = Object.entries(OPS[op].args)
  const value = (kind: keyof typeof WIRE): unknown =>
    kind in SPECIAL ? SPECIAL[kind as keyof typeof SPECIAL] : SAMPLES[WIRE[kind]]
  const args = Object.fromEntries(kinds.map(([name, kind]) => [name, value(kind)]))
  return { op, args, why: 'the decoder has to read it', tolerate: [1, 2, 3] } as unknown as Step
}

/** A plan with every kind of step. */
function everything(): Plan {
  const names = Object.keys(OPS) as OpName[]
  const others = names.filter(name => ![...LAST_OF_PARENT, ...ONLY_ONCE, ...OF_CHILD, ...OF_LAUNCHER].includes(name))
  return plan({
    host: [clone(), ...others.map(sample), ...OF_LAUNCHER.map(sample)],
    parent: [sample('post'), sample('serve')],
    child: others.map(sample),
    exec: [...OF_CHILD.map(sample), sample('execve')],
    undo: [sample('close')],
  })
}

function decodes(frame: Uint8Array, ...options: string[]) {
  const path = join(scratch, `${crypto.randomUUID()}.plan`)
  writeFileSync(path, frame)
  const { stdout, stderr, exitCode } = Bun.spawnSync([make('fuzz-plan'), ...options, path])
  return { accepted: Number.parseInt(stdout.toString(), 10), stderr: stderr.toString(), exitCode }
}

describe('the plan decoder', () => {
  const fuzzTest = testIf('command cc')

  fuzzTest(
    'accepts every kind of step',
    () => {
      expect(decodes(encodePlan(everything()))).toEqual({ accepted: 1, stderr: '', exitCode: 0 })
      expect(argsOf(sample('serve'))).toHaveLength(11)
    },
    TIME_LIMIT_MS,
  )

  fuzzTest(
    'reads no byte out of bounds, whatever a frame claims',
    () => {
      const frame = encodePlan(everything())
      const small = encodePlan(plan({ host: [s('mkdir', { dir: null, path: 'x', mode: 7 }), sample('execve')] }))
      const seed = `${Date.now()}`
      for (const each of [frame, small]) {
        const { stderr, exitCode } = decodes(each, '-n', `${FUZZ_MUTATIONS}`, seed)
        expect({ stderr, exitCode, seed }).toEqual({ stderr: '', exitCode: 0, seed })
      }
    },
    TIME_LIMIT_MS,
  )

  fuzzTest(
    'refuses every frame that is cut short',
    () => {
      const frame = encodePlan(plan({ host: [sample('execve'), sample('mount_fs')] }))
      for (let bytes = HEADER_BYTES; bytes < frame.length; bytes += 8) {
        const cut = frame.slice(0, bytes)
        new DataView(cut.buffer).setUint32(4, bytes, true)
        expect(decodes(cut)).toEqual({ accepted: 0, stderr: '', exitCode: 0 })
      }
    },
    TIME_LIMIT_MS,
  )

  const refused: [string, (frame: DataView) => void, string][] = [
    ['a wrong magic', frame => frame.setUint32(0, 1, true), 'not a frame'],
    ['a length below the header', frame => frame.setUint32(4, 16, true), 'not a frame'],
    ['a length above the limit', frame => frame.setUint32(4, 1 << 30, true), 'not a frame'],
    ['a length beyond the end of file', frame => frame.setUint32(4, frame.byteLength + 8, true), 'truncated frame'],
    ['another version', frame => frame.setUint16(8, 2, true), 'not a frame'],
    ['too many slots', frame => frame.setUint16(10, 513, true), 'not a frame'],
    ['too many steps', frame => frame.setUint32(12, 5000, true), 'malformed step'],
    ['more steps than there are', frame => frame.setUint32(12, 2, true), 'malformed step'],
    ['fewer steps than there are', frame => frame.setUint32(12, 0, true), 'bytes behind the last step'],
    ['an unknown operation', frame => frame.setUint16(HEADER_BYTES, 250, true), 'malformed step'],
    ['an unknown flag', frame => frame.setUint8(HEADER_BYTES + 3, 2), 'malformed step'],
    ['a skip beyond the stage', frame => frame.setUint16(HEADER_BYTES + 4, 1, true), 'a skip leaves its stage'],
    ['a step shorter than its arguments', frame => frame.setUint32(HEADER_BYTES + 8, 24, true), 'malformed step'],
    ['a slot beyond the table', frame => frame.setBigInt64(HEADER_BYTES + 16, 64n, true), 'malformed step'],
    ['a slot below none', frame => frame.setBigInt64(HEADER_BYTES + 16, -2n, true), 'malformed step'],
    ['a NUL inside a text', frame => frame.setUint8(HEADER_BYTES + 34, 0), 'malformed step'],
    ['a text without its NUL', frame => frame.setUint8(HEADER_BYTES + 36, 65), 'malformed step'],
  ]
  for (const [what, change, message] of refused)
    test(`refuses ${what}`, async () => {
      const frame = encodePlan(plan({ host: [s('mkdir', { dir: slot(0), path: 'text', mode: 0 })] }))
      change(new DataView(frame.buffer, frame.byteOffset, frame.byteLength))
      const outcome = await runAndClose(frame)
      expect(outcome).toMatchObject({
        records: [{ kind: 'fail', stage: null, step: 0xffffffff, errno: EINVAL, message }],
        exitCode: 1,
      })
    })

  const misplaced: [string, Plan][] = [
    ['a second clone', plan({ host: [clone(), clone()] })],
    ['clone in another stage', plan({ host: [clone()], parent: [clone()] })],
    ['steps of a child that is never made', plan({ child: [sample('sigreset')] })],
    ['wait_child before the end', plan({ host: [clone()], parent: [sample('wait_child'), sample('sigreset')] })],
    ['serve in the child', plan({ host: [clone()], child: [sample('serve')] })],
    ['wait_start in the launcher', plan({ host: [clone(), sample('wait_start')] })],
    ['userns in the child', plan({ host: [clone()], child: [sample('userns')] })],
    ['ask in the child', plan({ host: [clone()], child: [sample('ask')] })],
  ]
  for (const [what, each] of misplaced)
    test(`refuses ${what}`, async () => {
      expect((await run('release', each)).records).toMatchObject([{ kind: 'fail', stage: null, errno: EINVAL }])
    })
})

async function runAndClose(frame: Uint8Array) {
  await using init = new Init('release')
  await init.send(frame)
  await init.process.stdin.end()
  return await init.finish()
}
