/** Lists of images and searches, with Debian's docker-registry. */
import { expect } from 'bun:test'
import { sha256 } from '../image/layout-builder.ts'
import { run } from '../image/tree.ts'
import { startRegistry } from '../support/registry.ts'
import { testIf } from '../support/requirement.ts'
import { BERTH, configOf, dockerArchive, layerOf, StoreBox } from './store-box.ts'

const amd64 = { layers: [layerOf('amd64')], tags: ['one:amd64'] }
const arm64 = { layers: [layerOf('arm64')], tags: ['one:arm64'], document: { architecture: 'arm64' } }

/** Searching has nothing to do with a store. */
function found(...args: readonly string[]): string {
  const [program = '', ...rest] = BERTH
  return run(program, ...rest, 'search', ...args).toString()
}

testIf('root', 'command docker-registry', 'command skopeo')(
  'berth manifest push sends a list with its images, and berth search finds them',
  async () => {
    await using registry = await startRegistry()
    using box = new StoreBox()
    await box.load(dockerArchive(amd64, arm64))
    const list = `${registry.host}/team/one:1`
    await box.ok('manifest', 'create', list, 'one:amd64', 'one:arm64')
    const digest = (await box.ok('manifest', 'push', '--purge', list)).trim()
    const raw = run('skopeo', 'inspect', '--tls-verify=false', '--raw', `docker://${list}`)
    expect(sha256(raw)).toBe(digest)
    for (const [architecture, image] of [
      ['amd64', amd64],
      ['arm64', arm64],
    ] as const) {
      const options = ['--tls-verify=false', '--override-arch', architecture, '--raw', '--config']
      expect(run('skopeo', 'inspect', ...options, `docker://${list}`).toString()).toBe(configOf(image))
    }
    // It is not here any more, so the registry is asked.
    expect(JSON.parse(await box.ok('manifest', 'inspect', list))).toEqual(JSON.parse(raw.toString()))
    expect(found('--format', '{{.Name}}', `${registry.host}/team`)).toBe(`${registry.host}/team/one\n`)
    expect(found('--format', '{{.Name}}', `${registry.host}/nothing`)).toBe('')
    expect(() => found('--filter', 'stars=many', 'x')).toThrow('expected is-official=true|false')
  },
  60_000,
)
