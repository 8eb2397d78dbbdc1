import { expect, test } from 'bun:test'
import { rawTermios, silentTermios, TERMIOS_BYTES } from './termios.ts'

/** What TCGETS gives for a terminal as `stty sane` leaves it. */
const SANE = Uint8Array.from([
  0x00, 0x45, 0, 0, 0x05, 0, 0, 0, 0xbf, 0, 0, 0, 0x3b, 0x8a, 0, 0, 0, 3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18,
  15, 23, 22, 0, 0, 0,
])

test('rawTermios() turns off what changes bytes on their way, in both directions', () => {
  const view = new DataView(rawTermios(SANE).buffer)
  expect(view.getUint32(0, true) & 0o400).toBe(0) // ICRNL
  expect(view.getUint32(4, true) & 0o1).toBe(0) // OPOST
  expect(view.getUint32(12, true) & (0o1 | 0o2 | 0o10)).toBe(0) // ISIG, ICANON, ECHO
  expect(view.getUint8(17 + 6)).toBe(1)
})

test('rawTermios() keeps the speed, the control characters and its input as they were', () => {
  const raw = rawTermios(SANE)
  expect(raw.length).toBe(TERMIOS_BYTES)
  expect([...raw.subarray(17, 22)]).toEqual([...SANE.subarray(17, 22)])
  expect(SANE[4]).toBe(0x05)
  expect(raw[8]).toBe(0xbf)
})

test('silentTermios() turns off the echo of everything but line ends, and changes nothing else', () => {
  const silent = silentTermios(SANE)
  const flags = (settings: Uint8Array): number => new DataView(settings.buffer).getUint32(12, true)
  expect(flags(silent)).toBe((flags(SANE) & ~0o10) | 0o100) // ECHO, ECHONL
  expect([...silent].filter((byte, at) => byte !== SANE[at] && (at < 12 || at >= 16))).toEqual([])
})
