/** A moment as Go's Time.String() prints it, in the local zone: `2026-11-23 18:49:02 +0000 UTC`. */
export function goTime(ms: number): string {
  const date = new Date(ms)
  const two = (value: number): string => String(Math.abs(value)).padStart(2, '0')
  const offset = -date.getTimezoneOffset()
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.trunc(offset / 60))}${two(offset % 60)}`
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${day} ${time} ${zone} ${zoneName(date)}`
}

/** RFC 3339 in the local zone, without a fraction: `2026-11-23T18:49:02Z`. */
export function rfc3339(ms: number): string {
  const [day = '', time = '', zone = ''] = goTime(ms).split(' ')
  return `${day}T${time}${zone === '+0000' ? 'Z' : `${zone.slice(0, 3)}:${zone.slice(3)}`}`
}

function zoneName(date: Date): string {
  const parts = new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' }).formatToParts(date)
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'UTC'
}
