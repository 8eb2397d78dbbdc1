import { BerthError } from '../lib/error.ts'

/**
 * SOURCE_DATE_EPOCH of the environment, in seconds since 1970; null: not set. Source: reproducible-builds.org, SOURCE_DATE_EPOCH.
 * @throws {BerthError} invalidArgument: no number of seconds that a date has
 */
export function sourceDateEpoch(environment: NodeJS.ProcessEnv = process.env): number | null {
  const text = environment['SOURCE_DATE_EPOCH'] ?? ''
  if (text === '') return null
  // Year 9999: what RFC 3339 can say.
  if (/^\d{1,12}$/.test(text) && Number(text) < 253_402_300_800) return Number(text)
  throw new BerthError('invalidArgument', `Cannot use SOURCE_DATE_EPOCH "${text}": expected seconds since 1970`)
}
