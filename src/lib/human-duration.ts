const SECONDS_PER_MINUTE = 60
const MINUTES_PER_HOUR = 60
const HOURS_PER_DAY = 24
const DAYS_PER_WEEK = 7
const DAYS_PER_MONTH = 30
const DAYS_PER_YEAR = 365

/** A duration as docker writes it: `About a minute`, `3 weeks`. */
export function humanDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000)
  if (seconds < 1) return 'Less than a second'
  if (seconds === 1) return '1 second'
  if (seconds < SECONDS_PER_MINUTE) return `${seconds} seconds`
  const minutes = Math.floor(seconds / SECONDS_PER_MINUTE)
  if (minutes === 1) return 'About a minute'
  if (minutes < MINUTES_PER_HOUR) return `${minutes} minutes`
  const hours = Math.round(seconds / SECONDS_PER_MINUTE / MINUTES_PER_HOUR)
  if (hours === 1) return 'About an hour'
  if (hours < 2 * HOURS_PER_DAY) return `${hours} hours`
  const days = Math.floor(hours / HOURS_PER_DAY)
  if (days < 2 * DAYS_PER_WEEK) return `${days} days`
  if (days < 2 * DAYS_PER_MONTH) return `${Math.floor(days / DAYS_PER_WEEK)} weeks`
  if (days < 2 * DAYS_PER_YEAR) return `${Math.floor(days / DAYS_PER_MONTH)} months`
  return `${Math.floor(days / DAYS_PER_YEAR)} years`
}
