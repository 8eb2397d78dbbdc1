import { describe, expect, test } from 'bun:test'
import { composed } from '../../test/support/composed-container.ts'
import { printed } from '../../test/support/plan-steps.ts'

const LOG = { directory: '/var/log/c1', name: 'log', maxBytes: 1000, maxFiles: 3 }

describe('composeEnding()', () => {
  test('ends or waits as told', () => {
    expect(composed().parent.at(-1)?.op).not.toBe('wait_child')
    expect(composed({}, { ending: { kind: 'wait' } }).parent.at(-1)?.op).toBe('wait_child')
  })

  test('becomes the shim as the last step, with only its own ends of the pipes, so that end of file is seen', () => {
    const { host, parent } = composed({}, { ending: { kind: 'serve', stdin: true, log: LOG } })
    expect(printed(host, 'pipe')).toEqual([
      'pipe() = @stdout (read end), @stdout (write end)',
      'pipe() = @stderr (read end), @stderr (write end)',
      'pipe() = @stdin (read end), @stdin (write end)',
    ])
    expect(printed(parent).slice(-4)).toEqual([
      'close(@stdin (read end))',
      'close(@stdout (write end))',
      'close(@stderr (write end))',
      'serve(@shim socket, none, @stdin (write end), @stdout (read end), @stderr (read end), @directory of the log, "log", 1000, 3, @directory of the shim, "exit")',
    ])
  })

  test('leaves the session of the caller and opens its door before all else', () => {
    const { host } = composed({}, { ending: { kind: 'serve', stdin: false, log: LOG } })
    expect(printed(host).slice(0, 4)).toEqual([
      'open("/var/log/c1", O_DIRECTORY|O_PATH, 0) = @directory of the log',
      'setsid()',
      'open("/run/berth/c1", O_DIRECTORY|O_PATH, 0) = @directory of the shim',
      'listen(@directory of the shim, "shim.sock", 0600) = @shim socket',
    ])
  })

  test('gives a container without stdin /dev/null, and its pipes to the user', () => {
    const serve = { kind: 'serve', stdin: false, log: null } as const
    const { host, exec } = composed({ process: { user: { uid: 5 } } }, { ending: serve })
    expect(printed(host)).toContain('open("/dev/null", O_RDWR, 0) = @null')
    expect(printed(exec, 'chown', 'dup2')).toEqual([
      'chown(@null, "", 5, -1)',
      'dup2(@null, 0)',
      'chown(@stdout (write end), "", 5, -1)',
      'dup2(@stdout (write end), 1)',
      'chown(@stderr (write end), "", 5, -1)',
      'dup2(@stderr (write end), 2)',
    ])
  })

  test('makes no pipes where there is a terminal', () => {
    const { host } = composed({ process: { terminal: true } }, { ending: { kind: 'serve', stdin: true, log: null } })
    expect(printed(host, 'pipe')).toEqual([])
  })
})
