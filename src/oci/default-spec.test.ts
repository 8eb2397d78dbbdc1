import { describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatJson } from '../lib/json-shape.ts'
import { defaultSpec } from './default-spec.ts'
import type { RuntimeSpec } from './runtime-spec.ts'
import { parseRuntimeSpec } from './runtime-spec-parser.ts'
import { validateRuntimeSpec } from './runtime-validate.ts'

const runc = Bun.which('runc')

function runcSpec(...options: string[]): RuntimeSpec {
  const directory = mkdtempSync(join(tmpdir(), 'berth-spec-'))
  try {
    const { exitCode } = Bun.spawnSync([runc ?? 'runc', 'spec', ...options], { cwd: directory })
    expect(exitCode).toBe(0)
    return parseRuntimeSpec(readFileSync(join(directory, 'config.json'), 'utf8')).value
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** What differs on purpose: version, name, and ambient capabilities, which runc 1.2 no longer writes. */
function comparable(spec: RuntimeSpec): unknown {
  const { ambient: _, ...capabilities } = spec.process?.capabilities ?? {}
  return { ...spec, ociVersion: '', hostname: '', process: { ...spec.process, capabilities } }
}

describe('defaultSpec()', () => {
  test('is a config that can be run', () => {
    expect(validateRuntimeSpec(defaultSpec())).toEqual([])
    expect(validateRuntimeSpec(defaultSpec({ uid: 1000, gid: 1000 }))).toEqual([])
  })

  test('is read back from the JSON that formatJson() writes', () => {
    const parsed = parseRuntimeSpec(formatJson(defaultSpec(), '\t'))
    expect(parsed).toEqual({ value: defaultSpec(), warnings: [] })
  })

  test.skipIf(runc === null)('is what runc spec writes (needs runc)', () => {
    expect(comparable(defaultSpec())).toEqual(comparable(runcSpec()))
  })

  test.skipIf(runc === null)('is what runc spec --rootless writes (needs runc)', () => {
    const ids = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
    expect(comparable(defaultSpec(ids))).toEqual(comparable(runcSpec('--rootless')))
  })
})
