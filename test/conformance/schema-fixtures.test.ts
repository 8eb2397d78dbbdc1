import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError } from '../../src/lib/error.ts'
import { parseRuntimeFeatures } from '../../src/oci/runtime-features.ts'
import { parseRuntimeSpec } from '../../src/oci/runtime-spec-parser.ts'
import { parseRuntimeState } from '../../src/oci/runtime-state.ts'

const fixtures = join(import.meta.dir, 'runtime-spec')

const parsers: readonly (readonly [folder: string, parse: (json: string) => unknown])[] = [
  ['config', parseRuntimeSpec],
  ['state', parseRuntimeState],
  ['features', parseRuntimeFeatures],
]

/** What the error for a bad fixture must name. */
const reasons: Readonly<Record<string, string>> = {
  'config/freebsd-vnet-disable.json': 'freebsd.jail.vnet is "disable"',
  'config/invalid-json.json': 'expected JSON',
  'config/linux-hugepage.json': 'linux.resources.hugepageLimits[0].pageSize is "64kB"',
  'config/linux-netdevice.json': 'linux.netDevices.eth0.name is 23',
  'config/linux-rdma.json': 'linux.resources.rdma.mlx5_1.hcaHandles is "not a uint32"',
  'features/missing-ociVersionMax.json': 'ociVersionMax is absent',
  'state/invalid-json.json': 'expected JSON',
}

for (const [folder, parse] of parsers) {
  describe(`runtime-spec fixtures of ${folder}`, () => {
    for (const name of readdirSync(join(fixtures, folder, 'good'))) {
      test(`good/${name} is accepted`, () => {
        expect(parse(readFileSync(join(fixtures, folder, 'good', name), 'utf8'))).toBeDefined()
      })
    }
    for (const name of readdirSync(join(fixtures, folder, 'bad'))) {
      test(`bad/${name} is refused and the error names what is wrong`, () => {
        const reason = reasons[`${folder}/${name}`]
        expect(reason).toBeDefined()
        const json = readFileSync(join(fixtures, folder, 'bad', name), 'utf8')
        expect(() => parse(json)).toThrow(BerthError)
        expect(() => parse(json)).toThrow(reason ?? '')
      })
    }
  })
}
