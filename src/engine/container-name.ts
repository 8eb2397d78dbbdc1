import { randomBytes, randomInt } from 'node:crypto'
import { BerthError } from '../lib/error.ts'

const ADJECTIVES = [
  'amber',
  'bold',
  'brisk',
  'calm',
  'clear',
  'coral',
  'deep',
  'fair',
  'fleet',
  'fresh',
  'gentle',
  'golden',
  'keen',
  'lucid',
  'merry',
  'noble',
  'quiet',
  'rapid',
  'salty',
  'silver',
  'steady',
  'sunny',
  'swift',
  'tidal',
  'trim',
  'vivid',
  'windy',
  'wise',
]
const NOUNS = [
  'anchor',
  'barge',
  'beacon',
  'bosun',
  'brig',
  'buoy',
  'clipper',
  'cutter',
  'dinghy',
  'dock',
  'ferry',
  'frigate',
  'gull',
  'harbor',
  'helm',
  'jetty',
  'keel',
  'ketch',
  'lagoon',
  'lantern',
  'mast',
  'pier',
  'quay',
  'rudder',
  'sail',
  'schooner',
  'skiff',
  'sloop',
  'tern',
  'tug',
  'wharf',
  'yawl',
]

/** Docker's rule for names. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** 64 hexadecimal digits, as Docker's ids. */
export function newContainerId(): string {
  return randomBytes(32).toString('hex')
}

/** A name for a container that was given none; four digits keep thousands of them apart. */
export function generateName(): string {
  const pick = (words: readonly string[]): string => words[randomInt(words.length)] ?? 'berth'
  return `${pick(ADJECTIVES)}_${pick(NOUNS)}${randomInt(1000, 10_000)}`
}

/** @throws {BerthError} invalidArgument */
export function checkName(name: string): string {
  if (!NAME.test(name))
    throw new BerthError(
      'invalidArgument',
      `Cannot use container name "${name}": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    )
  return name
}
