/**
 * Changes of an image's config in the words of a Dockerfile: `--change` of commit and import.
 * Source: Dockerfile reference; image-spec › OCI Image Configuration › config.
 */
import { BerthError } from '../lib/error.ts'
import { SIGNALS } from '../linux/signals.ts'

/** The `config` of an image's config as it is written, with what only others know: changing it keeps all that is not named. */
export type ConfigDocument = Readonly<Record<string, unknown>>

type Change = (config: ConfigDocument, rest: string) => ConfigDocument

const CHANGES: Readonly<Record<string, Change>> = {
  CMD: (config, rest) => ({ ...config, Cmd: command(config, rest) }),
  // As in a Dockerfile, an entrypoint makes the command that was meant for another one void.
  ENTRYPOINT: (config, rest) => ({ ...without(config, 'Cmd'), Entrypoint: command(config, rest) }),
  ENV: (config, rest) => ({ ...config, Env: mergeEnv(strings(config['Env']), pairs(rest, true)) }),
  EXPOSE: (config, rest) => addKeys(config, 'ExposedPorts', words(rest).flatMap(ports)),
  LABEL: (config, rest) => ({
    ...config,
    Labels: { ...record(config['Labels']), ...Object.fromEntries(pairs(rest, false)) },
  }),
  ONBUILD: (config, rest) => ({ ...config, OnBuild: [...strings(config['OnBuild']), trigger(rest)] }),
  STOPSIGNAL: (config, rest) => ({ ...config, StopSignal: signal(rest) }),
  USER: (config, rest) => ({ ...config, User: single(rest) }),
  VOLUME: (config, rest) => addKeys(config, 'Volumes', jsonWords(rest) ?? words(rest)),
  WORKDIR: (config, rest) => ({ ...config, WorkingDir: directory(config['WorkingDir'], single(rest)) }),
  HEALTHCHECK: (config, rest) => ({ ...config, Healthcheck: healthcheck(config, rest) }),
  SHELL: (config, rest) => {
    const shell = jsonWords(rest)
    if (shell === null || shell.length === 0) throw bad('SHELL takes a list in JSON')
    return { ...config, Shell: shell }
  },
}

/** The instructions that {@link applyChange} knows. */
export const CHANGE_INSTRUCTIONS: readonly string[] = Object.keys(CHANGES)

/** The config with one instruction applied. @throws {BerthError} invalidArgument: an unknown or malformed instruction */
export function applyChange(config: ConfigDocument, line: string): ConfigDocument {
  const [, name = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(line) ?? []
  const change = CHANGES[name.toUpperCase()]
  try {
    if (change === undefined) throw bad(`it is none of ${CHANGE_INSTRUCTIONS.join(', ')}`)
    if (rest === '') throw bad('it says nothing')
    if (/[\0\n]/.test(rest)) throw bad('it holds a line break or a NUL')
    return change(config, rest)
  } catch (error) {
    if (!(error instanceof ChangeError)) throw error
    throw new BerthError('invalidArgument', `Cannot apply change ${JSON.stringify(line)}: ${error.message}`)
  }
}

class ChangeError extends Error {}

function bad(why: string): ChangeError {
  return new ChangeError(why)
}

function without(config: ConfigDocument, name: string): ConfigDocument {
  return Object.fromEntries(Object.entries(config).filter(([key]) => key !== name))
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : []
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
}

function addKeys(config: ConfigDocument, name: string, keys: readonly string[]): ConfigDocument {
  return { ...config, [name]: { ...record(config[name]), ...Object.fromEntries(keys.map(key => [key, {}])) } }
}

/** A list in JSON, or a line for the shell. */
function command(config: ConfigDocument, rest: string): readonly string[] {
  return jsonWords(rest) ?? [...shellOf(config), rest]
}

function shellOf(config: ConfigDocument): readonly string[] {
  const shell = strings(config['Shell'])
  return shell.length > 0 ? shell : ['/bin/sh', '-c']
}

/** The words of a list in JSON; null: it is none, which makes it a line of text. */
function jsonWords(text: string): readonly string[] | null {
  if (!text.startsWith('[')) return null
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every(each => typeof each === 'string') ? value : null
  } catch {
    // As with docker, what looks like a list and is none is taken for a command line of the shell.
    return null
  }
}

/** Words parted by white space; quotes and backslashes keep it together. */
function words(text: string): readonly string[] {
  const found: string[] = []
  let word: string | null = null
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    if (quote === '' && /\s/.test(char)) {
      if (word !== null) found.push(word)
      word = null
    } else if (char === quote) quote = ''
    else if (quote === '' && (char === '"' || char === "'")) {
      quote = char
      word ??= ''
    } else if (char === '\\' && quote !== "'" && at + 1 < text.length) word = (word ?? '') + (text[++at] ?? '')
    else word = (word ?? '') + char
  }
  if (quote !== '') throw bad(`a quotation mark (${quote}) is not closed`)
  return word === null ? found : [...found, word]
}

function single(rest: string): string {
  const [word, ...more] = words(rest)
  if (word === undefined || more.length > 0) throw bad('it takes one word')
  return word
}

/** `NAME=VALUE …`, or `NAME VALUE` in the old form. */
function pairs(rest: string, isEnv: boolean): readonly (readonly [name: string, value: string])[] {
  const [, name = '', value = ''] = /^([^\s=]+)\s+(.*)$/s.exec(rest) ?? []
  if (name !== '') return [[name, value]]
  return words(rest).map(word => {
    const equals = word.indexOf('=')
    if (equals <= 0) throw bad(`"${word}" is no ${isEnv ? 'NAME=VALUE' : 'KEY=VALUE'}`)
    return [word.slice(0, equals), word.slice(equals + 1)]
  })
}

/** The environment with variables set: in their old place where they were there. */
export function mergeEnv(
  env: readonly string[],
  pairs: readonly (readonly [name: string, value: string])[],
): readonly string[] {
  const merged = new Map(env.map(entry => [entry.split('=', 1)[0] ?? entry, entry]))
  for (const [name, value] of pairs) merged.set(name, `${name}=${value}`)
  return [...merged.values()]
}

function ports(word: string): readonly string[] {
  const [, first, last = first, protocol = 'tcp'] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(word) ?? []
  const [from, to] = [Number(first), Number(last)]
  if (first === undefined || from < 1 || to > 65_535 || to < from)
    throw bad(`"${word}" is no port, range or PORT/PROTOCOL`)
  return Array.from({ length: to - from + 1 }, (_, index) => `${from + index}/${protocol}`)
}

function trigger(rest: string): string {
  const [name = ''] = rest.split(/\s/, 1)
  if (['ONBUILD', 'FROM', 'MAINTAINER'].includes(name.toUpperCase())) throw bad(`${name} cannot be a trigger`)
  return rest
}

function signal(rest: string): string {
  const name = single(rest)
  const known = Object.keys(SIGNALS)
  const isNumber = /^\d{1,2}$/.test(name) && Number(name) >= 1 && Number(name) <= 64
  if (
    isNumber ||
    known.includes(name) ||
    known.includes(`SIG${name}`) ||
    /^(?:SIG)?RTM(?:IN|AX)(?:[+-]\d+)?$/.test(name)
  )
    return name
  throw bad(`"${name}" is no signal`)
}

function directory(old: unknown, path: string): string {
  if (path.startsWith('/')) return path
  return `${typeof old === 'string' && old !== '' ? old.replace(/\/+$/, '') : ''}/${path}`
}

const HEALTH_OPTIONS: Readonly<Record<string, string>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
  retries: 'Retries',
}

function healthcheck(config: ConfigDocument, text: string): Readonly<Record<string, unknown>> {
  const options: [string, number][] = []
  let rest = text
  for (;;) {
    const [all = '', name = '', value = ''] = /^--([a-z-]+)=(\S+)\s+/.exec(rest) ?? []
    if (all === '') break
    const key = HEALTH_OPTIONS[name]
    if (key === undefined) throw bad(`HEALTHCHECK has no option "--${name}"`)
    options.push([key, name === 'retries' ? count(value) : nanoseconds(value)])
    rest = rest.slice(all.length)
  }
  const [, word = '', what = ''] = /^(\S+)\s*(.*)$/s.exec(rest) ?? []
  if (word.toUpperCase() === 'NONE' && what === '' && options.length === 0) return { Test: ['NONE'] }
  if (word.toUpperCase() !== 'CMD' || what === '')
    throw bad('HEALTHCHECK takes NONE, or options and CMD with a command')
  const list = jsonWords(what)
  const test =
    list !== null
      ? ['CMD', ...list]
      : config['Shell'] === undefined
        ? ['CMD-SHELL', what]
        : ['CMD', ...shellOf(config), what]
  return { Test: test, ...Object.fromEntries(options) }
}

function count(value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value)
  throw bad(`"${value}" is no number`)
}

const UNITS: Readonly<Record<string, number>> = { h: 3600e9, m: 60e9, s: 1e9, ms: 1e6, us: 1e3, ns: 1 }

/** A duration as Go writes it: `1m30s`, `1.5h`. */
function nanoseconds(value: string): number {
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|us|ns|m|s))+$/.test(value)) throw bad(`"${value}" is no duration such as 1m30s`)
  return [...value.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)/g)].reduce(
    (sum, [, number = '', unit = '']) => sum + Math.round(Number(number) * (UNITS[unit] ?? 0)),
    0,
  )
}
