/** `process.terminal` and `process.consoleSize`; the console socket. */

import { describe, expect } from 'bun:test'
import { conforms } from './harness.ts'

describe('process.terminal', () => {
  conforms(
    'the master of the terminal comes to the console socket, and the terminal is the controlling one',
    async box => {
      const socket = box.path('console')
      const console = await box.probe('console', socket)
      box.write(
        box.spec(
          'echo > /dev/tty && readlink /proc/self/fd/0 && stat -c %F /dev/console; tty_=$(stty size) && echo "$tty_"',
          { process: { terminal: true } },
        ),
      )
      expect(await box.create(['--console-socket', socket])).toMatchObject({ status: 0 })
      await box.ok('start', box.id)
      const lines = (await console.rest()).replaceAll('\r', '').trim().split('\n')
      expect(lines.slice(0, 2)).toEqual(['/dev/pts/0', 'character special file'])
    },
  )

  conforms('process.consoleSize is the size of the terminal', async box => {
    const socket = box.path('console')
    const console = await box.probe('console', socket)
    box.write(box.spec(['stty', 'size'], { process: { terminal: true, consoleSize: { height: 33, width: 77 } } }))
    await box.create(['--console-socket', socket])
    await box.ok('start', box.id)
    expect((await console.rest()).trim()).toBe('33 77')
  })

  conforms('the user of the process owns the terminal', async box => {
    const socket = box.path('console')
    const console = await box.probe('console', socket)
    const process = { terminal: true, user: { uid: 1000, gid: 1000 } }
    box.write(box.spec('stat -c "%u" $(readlink /proc/self/fd/0)', { process }))
    await box.create(['--console-socket', socket])
    await box.ok('start', box.id)
    expect((await console.rest()).trim()).toBe('1000')
  })

  conforms('process.consoleSize without a terminal is ignored', async box => {
    expect(
      await box.see('! stty size 2>/dev/null; echo none', { process: { consoleSize: { height: 5, width: 5 } } }),
    ).toBe('none')
  })

  conforms('create with a terminal but no socket, and a socket but no terminal, are errors', async box => {
    expect(await box.refusal(['true'], { process: { terminal: true } })).toMatch(/console/i)
    box.write(box.spec(['true']))
    const { status, stderr } = await box.create(['--console-socket', box.path('nobody')])
    expect([status === 0, stderr]).toEqual([false, expect.stringMatching(/console|terminal|tty/i)])
  })
})
