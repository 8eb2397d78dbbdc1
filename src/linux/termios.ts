/**
 * Line settings of a terminal: the kernel's `struct termios`, 36 bytes, little-endian.
 *
 * | offset | size | field   | | offset | size | field    |
 * | ------ | ---- | ------- | | ------ | ---- | -------- |
 * | 0      | 4    | c_iflag | | 12     | 4    | c_lflag  |
 * | 4      | 4    | c_oflag | | 16     | 1    | c_line   |
 * | 8      | 4    | c_cflag | | 17     | 19   | c_cc[19] |
 *
 * Source: termios(3), include/uapi/asm-generic/termbits.h.
 */

export const TERMIOS_BYTES = 36

const OFFSET = { iflag: 0, oflag: 4, cflag: 8, lflag: 12, cc: 17 } as const
const VTIME = 5
const VMIN = 6

const IGNBRK = 0o1
const BRKINT = 0o2
const PARMRK = 0o10
const ISTRIP = 0o40
const INLCR = 0o100
const IGNCR = 0o200
const ICRNL = 0o400
const IXON = 0o2000
const OPOST = 0o1
const CSIZE = 0o60
const CS8 = 0o60
const PARENB = 0o400
const ISIG = 0o1
const ICANON = 0o2
const ECHO = 0o10
const ECHONL = 0o100
const IEXTEN = 0o100000

/** The same settings in raw mode: every byte goes through as it is, both ways. Source: termios(3) › cfmakeraw. */
export function rawTermios(settings: Uint8Array): Uint8Array {
  const raw = settings.slice()
  const view = new DataView(raw.buffer)
  const change = (offset: number, clear: number, set: number): void => {
    view.setUint32(offset, (view.getUint32(offset, true) & ~clear) | set, true)
  }
  change(OFFSET.iflag, IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON, 0)
  change(OFFSET.oflag, OPOST, 0)
  change(OFFSET.cflag, CSIZE | PARENB, CS8)
  change(OFFSET.lflag, ECHO | ECHONL | ICANON | ISIG | IEXTEN, 0)
  view.setUint8(OFFSET.cc + VMIN, 1)
  view.setUint8(OFFSET.cc + VTIME, 0)
  return raw
}

/** The same settings without echo: lines are edited and signals sent as before, but nothing of them is seen. */
export function silentTermios(settings: Uint8Array): Uint8Array {
  const silent = settings.slice()
  const view = new DataView(silent.buffer)
  const flags = view.getUint32(OFFSET.lflag, true)
  // The end of the line is shown, so that what is printed next has one of its own.
  view.setUint32(OFFSET.lflag, (flags & ~ECHO) | ECHONL, true)
  return silent
}
