import { describe, expect, test } from 'bun:test'
import { ProxyRules, proxySettings } from './proxy-rules.ts'

const proxy = 'http://proxy.test:3128'

describe('proxyOf()', () => {
  const bypassed = (bypass: string, url: string): boolean =>
    new ProxyRules({ http: proxy, https: proxy, bypass }).proxyOf(new URL(url)) === null

  test.each([
    ['', 'https://registry.test/v2/', false],
    ['*', 'https://registry.test/v2/', true],
    ['registry.test', 'https://registry.test/', true],
    ['registry.test', 'https://a.registry.test/', true],
    ['registry.test', 'https://myregistry.test/', false],
    ['.registry.test', 'https://registry.test/', false],
    ['.registry.test', 'https://a.registry.test/', true],
    ['*.registry.test', 'https://a.b.registry.test/', true],
    ['REGISTRY.test', 'https://registry.TEST./', true],
    ['registry.test:5000', 'https://registry.test:5000/', true],
    ['registry.test:5000', 'https://registry.test/', false],
    ['registry.test:443', 'https://registry.test/', true],
    ['10.0.0.0/8', 'http://10.1.2.3/', true],
    ['10.0.0.0/8', 'http://11.1.2.3/', false],
    ['10.1.2.3', 'http://10.1.2.3:5000/', true],
    ['10.1.2.3:80', 'http://10.1.2.3:5000/', false],
    ['2001:db8::/32', 'http://[2001:db8::5]/', true],
    ['2001:db8::5', 'http://[2001:db8::5]:5000/', true],
    ['[2001:db8::5]:5000', 'http://[2001:db8::5]:5000/', true],
    ['10.0.0.0/99, other.test', 'http://10.0.0.1/', false],
    [' other.test , registry.test ', 'https://registry.test/', true],
    ['', 'http://localhost:5000/', true],
    ['', 'http://127.0.0.1:5000/', true],
    ['', 'http://[::1]:5000/', true],
  ])('with NO_PROXY=%j bypasses for %s: %p', (bypass, url, expected) => expect(bypassed(bypass, url)).toBe(expected))

  test('is of the scheme of the URL', () => {
    const rules = new ProxyRules({ http: 'one.test:1', https: 'https://two.test:2' })
    expect(rules.proxyOf(new URL('http://a.test/'))).toBe('http://one.test:1')
    expect(rules.proxyOf(new URL('https://a.test/'))).toBe('https://two.test:2')
    expect(new ProxyRules({}).proxyOf(new URL('https://a.test/'))).toBeNull()
  })

  test.each(['socks5://user:secret@proxy.test', 'http://[', 'file:///secret'])('refuses the proxy %j', http => {
    expect(() => new ProxyRules({ http })).toThrow('it is no URL of http or https')
    expect(() => new ProxyRules({ http })).not.toThrow('secret')
  })
})

test('proxySettings() prefers upper case, and takes lower case', () => {
  expect(proxySettings({ HTTP_PROXY: 'a', http_proxy: 'b', https_proxy: 'c', NO_PROXY: '', no_proxy: 'd' })).toEqual({
    http: 'a',
    https: 'c',
    bypass: 'd',
  })
  expect(proxySettings({})).toEqual({})
})
