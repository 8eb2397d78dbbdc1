import { describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RegistryHosts } from './registry-hosts.ts'

const PEM = '-----BEGIN CERTIFICATE-----\n'

/** Directories of hosts files. */
class Scene implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'berth-hosts-'))

  write(name: string, text: string): void {
    const path = join(this.path, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, text)
  }

  hosts(...directories: readonly string[]): RegistryHosts {
    return new RegistryHosts(directories.map(name => join(this.path, name)))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

const basesOf = async (hosts: RegistryHosts, domain: string): Promise<readonly string[]> =>
  (await hosts.endpointsOf(domain)).map(({ base }) => base)

describe('endpointsOf()', () => {
  test.each([
    ['registry.test:5000', 'https://registry.test:5000/v2'],
    ['localhost:5000', 'http://localhost:5000/v2'],
    ['a.localhost', 'http://a.localhost/v2'],
    ['127.3.2.1:5000', 'http://127.3.2.1:5000/v2'],
    ['[::1]:5000', 'http://[::1]:5000/v2'],
    ['127.0.0.1.registry.test', 'https://127.0.0.1.registry.test/v2'],
    ['localhost.registry.test', 'https://localhost.registry.test/v2'],
  ])('of %s without a file is %s', async (domain, base) => {
    using scene = new Scene()
    expect(await basesOf(scene.hosts('nothing'), domain)).toEqual([base])
  })

  test('takes the first directory that has a file, and _default for the others', async () => {
    using scene = new Scene()
    scene.write('user/registry.test/hosts.toml', '[host."https://mine.test"]')
    scene.write('system/registry.test/hosts.toml', '[host."https://yours.test"]')
    scene.write('system/_default/hosts.toml', 'server = "https://ignored.test"\n[host."https://all.test"]')
    const hosts = scene.hosts('user', 'system')
    expect(await basesOf(hosts, 'registry.test')).toEqual(['https://mine.test/v2', 'https://registry.test/v2'])
    expect(await basesOf(hosts, 'other.test')).toEqual(['https://all.test/v2', 'https://other.test/v2'])
  })

  test('reads certificates beside the file, and names one that is not there', async () => {
    using scene = new Scene()
    scene.write('d/registry.test/ca.pem', PEM)
    scene.write('d/registry.test/hosts.toml', 'ca = "ca.pem"\nskip_verify = false')
    scene.write('d/absent.test/hosts.toml', 'ca = "absent.pem"')
    scene.write('d/key.test/ca.pem', 'no PEM')
    scene.write('d/key.test/hosts.toml', 'ca = "ca.pem"')
    const [endpoint] = await scene.hosts('d').endpointsOf('registry.test')
    expect(endpoint?.tls).toEqual({ authorities: [PEM], client: null, skipVerify: false })
    await expect(scene.hosts('d').endpointsOf('absent.test')).rejects.toThrow('absent.pem" is not there')
    await expect(scene.hosts('d').endpointsOf('key.test')).rejects.toThrow('it is no PEM file')
  })

  test.each(['..', 'a/../b', '', 'a..b', '-a', '_default', 'a\u0000b'])('refuses the host %j', async domain => {
    using scene = new Scene()
    await expect(scene.hosts('d').endpointsOf(domain)).rejects.toThrow('it is no host')
  })
})

test('isPlainHttp() is true of what a file says by plain HTTP, and of nothing that is only assumed', async () => {
  using scene = new Scene()
  scene.write('d/plain.test/hosts.toml', 'server = "http://plain.test"')
  scene.write('d/secure.test/hosts.toml', '[host."http://mirror.test"]')
  const hosts = scene.hosts('d')
  const names = ['plain.test', 'secure.test', 'mirror.test', 'localhost:5000']
  expect(await Promise.all(names.map(name => hosts.isPlainHttp(name)))).toEqual([true, false, false, false])
})

test('endpointAt() finds a registry, then a mirror of one, then what is usual', async () => {
  using scene = new Scene()
  scene.write('d/registry.test/hosts.toml', '[host."https://mirror.test/path"]\n[host."https://own.test"]')
  scene.write('d/own.test/hosts.toml', 'server = "https://own.test/own"')
  const hosts = scene.hosts('d', 'nothing')
  const names = ['registry.test', 'mirror.test', 'own.test', 'other.test']
  expect((await Promise.all(names.map(name => hosts.endpointAt(name)))).map(({ base }) => base)).toEqual([
    'https://registry.test/v2',
    'https://mirror.test/path/v2',
    'https://own.test/own/v2',
    'https://other.test/v2',
  ])
})
