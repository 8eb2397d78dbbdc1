import { describe, expect, test } from 'bun:test'
import { parseHostsFile } from './hosts-file.ts'

const parse = (text: string) => parseHostsFile(text, 'hosts.toml')

describe('parseHostsFile()', () => {
  test('reads all that a host can have, in the order of the file', () => {
    const file = parse(`
      server = "https://registry.test"
      ca = ["one.pem", "two.pem"]
      allow_foreign_urls = true
      [host."https://z.test:5000/cache"]
        capabilities = ["pull", "resolve", "push"]
        client = [["a.cert", "a.key"]]
        skip_verify = true
        override_path = true
        [host."https://z.test:5000/cache".header]
          X-Token = ["one", "two"]
      [host."http://a.test"]
        ca = "ca.pem"
        client = "both.pem"
      [host."m.test"]
    `)
    expect(file.server).toMatchObject({ base: 'https://registry.test/v2', authorities: ['one.pem', 'two.pem'] })
    expect(file.server.capabilities).toEqual(['pull', 'resolve', 'push'])
    expect(file.allowsForeignUrls).toBe(true)
    expect(file.hosts).toEqual([
      {
        base: 'https://z.test:5000/cache',
        capabilities: ['pull', 'resolve', 'push'],
        authorities: [],
        client: { certificate: 'a.cert', key: 'a.key' },
        skipVerify: true,
        headers: { 'x-token': 'one, two' },
      },
      {
        base: 'http://a.test/v2',
        capabilities: ['pull', 'resolve'],
        authorities: ['ca.pem'],
        client: { certificate: 'both.pem', key: 'both.pem' },
        skipVerify: false,
        headers: {},
      },
      expect.objectContaining({ base: 'https://m.test/v2' }),
    ])
  })

  test.each([
    ['registry.test', 'https://registry.test/v2'],
    ['localhost:5000', 'http://localhost:5000/v2'],
    ['127.0.0.1:5000', 'http://127.0.0.1:5000/v2'],
    ['https://localhost:5000', 'https://localhost:5000/v2'],
    ['https://registry.test/v2/', 'https://registry.test/v2'],
    ['https://registry.test/a/b', 'https://registry.test/a/b/v2'],
  ])('understands server = %j as %s', (server, base) => {
    expect(parse(`server = "${server}"`).server.base).toBe(base)
  })

  test.each([
    ['server = ', 'expected TOML'],
    ['server = 7', 'server is 7, expected a text'],
    ['skip_verfy = false', 'unknown property skip_verfy'],
    ['[host."https://a.test"]\ncapabilites = ["pull"]', 'capabilites'],
    ['[host."https://a.test"]\ncapabilities = ["fly"]', 'expected one of pull, resolve, push'],
    ['[host."ftp://a.test"]', 'is no URL of http or https'],
    ['[host."https://user:password@a.test"]', 'credentials are for "berth login"'],
    ['[host."https://a.test?x=1"]', 'has more than a host and a path'],
    ['client = [["a", "b"], ["c", "d"]]', 'expected one certificate and its key'],
    ['client = [["a", "b", "c"]]', 'expected a certificate and its key'],
    ['[header]\n"a b" = "c"', 'header "a b" is malformed'],
    ['[header]\na = "c\\nd"', 'header "a" is malformed'],
  ])('refuses %j', (text, message) => expect(() => parse(text)).toThrow(message))
})
