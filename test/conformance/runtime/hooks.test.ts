/** `hooks` of config.json. Source: runtime-spec › POSIX-platform Hooks. */

import { describe, expect } from 'bun:test'
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { HOOK_KINDS, type Hook, type HookKind, type Hooks } from '../../../src/oci/runtime-spec.ts'
import type { Box } from './box.ts'
import { conforms } from './harness.ts'

const POSTSTART = 'runc 1.1 runs poststart hooks before the program, and in create'

/** A hook that runs a shell script; in the runtime's namespaces with the host's shell. */
function hook(script: string, more: Partial<Hook> = {}): Hook {
  return { path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/bin:/usr/bin'], ...more }
}

/** Hooks of every kind, two of each, that write the kind and number to a file both sides see. */
function recorders(box: Box, line = ''): Hooks {
  const pair = (kind: HookKind) =>
    [1, 2].map(number => {
      const file = kind === 'startContainer' ? '/tmp/record' : `${box.rootfs}/tmp/record`
      return hook(`echo ${kind}${number}${line} >> ${file}`)
    })
  return Object.fromEntries(HOOK_KINDS.map(kind => [kind, pair(kind)]))
}

function record(box: Box): string[] {
  return readFileSync(`${box.rootfs}/tmp/record`, 'utf8').trim().split('\n')
}

function numbered(...kinds: readonly HookKind[]): string[] {
  return kinds.flatMap(kind => [`${kind}1`, `${kind}2`])
}

describe('hooks', () => {
  conforms(
    'hooks run at create, start and delete, each kind in its turn and in the order of its list',
    async box => {
      await box.created('echo program >> /tmp/record', { hooks: recorders(box) })
      const atCreate = numbered('prestart', 'createRuntime', 'createContainer')
      expect(record(box)).toEqual(atCreate)
      await box.ok('start', box.id)
      await box.until('stopped')
      const atStart = [...atCreate, ...numbered('startContainer'), 'program', ...numbered('poststart')]
      // The program may be faster or slower than the hooks after its start.
      expect(record(box).toSorted()).toEqual(atStart.toSorted())
      expect(record(box).slice(0, 9)).toEqual(expect.arrayContaining(numbered('startContainer')))
      expect(record(box).indexOf('startContainer2')).toBeLessThan(record(box).indexOf('program'))
      await box.ok('delete', box.id)
      expect(record(box).slice(-2)).toEqual(numbered('poststop'))
    },
    { notOnRunc: POSTSTART },
  )

  conforms(
    'prestart and createRuntime hooks run in the runtime’s namespaces, createContainer and startContainer in the container’s',
    async box => {
      const show = 'echo $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/uts)'
      const file = box.path('namespaces')
      const inside = '/tmp/namespaces'
      writeFileSync(file, '')
      const { pid } = await box.started(['sleep', '1000'], {
        hooks: {
          prestart: [hook(`${show} >> ${file}`)],
          createRuntime: [hook(`${show} >> ${file}`)],
          createContainer: [hook(`${show} >> ${file}`)],
          startContainer: [hook(`${show} >> ${inside}`)],
        },
      })
      const links = (of: number | 'self' | undefined) =>
        `${readlinkSync(`/proc/${of}/ns/mnt`)} ${readlinkSync(`/proc/${of}/ns/uts`)}`
      expect(readFileSync(file, 'utf8').trim().split('\n')).toEqual([links('self'), links('self'), links(pid)])
      expect(readFileSync(`${box.rootfs}${inside}`, 'utf8').trim()).toBe(links(pid))
    },
  )

  conforms('createRuntime hooks see the container’s namespaces complete but its root not yet changed', async box => {
    // The process that waits is in its own mount namespace, whose root is still the host's.
    const script = `read state; pid=$(echo "$state" | sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'); ls -d /proc/$pid/root${box.rootfs} > ${box.path('seen')}`
    await box.created(['true'], { hooks: { createRuntime: [hook(script)] } })
    expect(readFileSync(box.path('seen'), 'utf8')).toContain(box.rootfs)
  })

  conforms('createContainer hooks resolve their path on the host, startContainer hooks in the container', async box => {
    writeFileSync(`${box.rootfs}/data/only-inside`, '#!/bin/sh\necho inside > /tmp/inside\n', { mode: 0o755 })
    writeFileSync(box.path('only-outside'), `#!/bin/sh\necho outside > ${box.path('outside')}\n`, { mode: 0o755 })
    await box.started(['true'], {
      hooks: {
        createContainer: [{ path: box.path('only-outside') }],
        startContainer: [{ path: '/data/only-inside', env: ['PATH=/bin'] }],
      },
    })
    expect(existsSync(box.path('outside'))).toBe(true)
    expect(existsSync(`${box.rootfs}/tmp/inside`)).toBe(true)
  })

  conforms(
    'every hook reads the state on stdin: id, status, bundle, annotations, and a pid in its own namespace',
    async box => {
      const on = (kind: HookKind) => [hook(`cat > ${kind === 'startContainer' ? '/tmp' : `${box.rootfs}/tmp`}/${kind}`)]
      const hooks = Object.fromEntries(HOOK_KINDS.map(kind => [kind, on(kind)]))
      const { pid } = await box.started(['true'], { hooks, annotations: { 'org.test.key': 'value' } })
      await box.until('stopped')
      await box.ok('delete', box.id)
      const states = HOOK_KINDS.map(kind => JSON.parse(readFileSync(`${box.rootfs}/tmp/${kind}`, 'utf8')))
      for (const state of states)
        expect(state).toMatchObject({
          ociVersion: expect.stringMatching(/^1\.\d+\.\d+/),
          id: box.id,
          bundle: box.bundle,
          annotations: { 'org.test.key': 'value' },
        })
      const [prestart, createRuntime, createContainer, startContainer, poststart, poststop] = states
      expect([prestart.status, createRuntime.status, createContainer.status]).toEqual([
        'creating',
        'creating',
        'creating',
      ])
      expect(startContainer.status).toBe('created')
      expect(poststop.status).toBe('stopped')
      expect([prestart.pid, createRuntime.pid]).toEqual([poststart.pid, poststart.pid])
      expect([createContainer.pid, startContainer.pid]).toEqual([1, 1])
      expect(prestart.pid).toBeGreaterThan(1)
      if (pid !== undefined && pid !== 0) expect(prestart.pid).toBe(pid)
    },
  )

  conforms('a hook gets args as they are and env as its whole environment', async box => {
    const path = box.path('hook')
    writeFileSync(path, `#!/bin/sh\n{ echo "$#:$1:$2"; env; } > ${box.path('seen')}\n`, { mode: 0o755 })
    await box.created(['true'], {
      hooks: { createRuntime: [{ path, args: ['zero', 'one', 'two words'], env: ['ONLY=this'] }] },
    })
    const lines = readFileSync(box.path('seen'), 'utf8').trim().split('\n')
    expect(lines[0]).toBe('2:one:two words')
    expect(lines.filter(line => !/^(PWD|SHLVL|_)=/.test(line)).slice(1)).toEqual(['ONLY=this'])
  })

  const FAILING = [
    ['prestart', 'a prestart hook that fails makes create fail, nothing is left, and poststop hooks run'],
    ['createRuntime', 'a createRuntime hook that fails makes create fail, nothing is left, and poststop hooks run'],
    ['createContainer', 'a createContainer hook that fails makes create fail, nothing is left, and poststop hooks run'],
  ] as const
  for (const [kind, claim] of FAILING)
    conforms(claim, async box => {
      const hooks = {
        [kind]: [hook('echo why >&2; exit 3'), hook(`touch ${box.path('second')}`)],
        poststop: [hook(`cat > ${box.path('poststop')}`)],
      }
      expect(await box.refusal(['true'], { hooks })).toMatch(/why|hook/)
      expect(existsSync(box.path('second'))).toBe(false)
      expect(JSON.parse(readFileSync(box.path('poststop'), 'utf8'))).toMatchObject({ id: box.id, status: 'stopped' })
      await box.fails('state', box.id)
    })

  conforms(
    'a startContainer hook that fails makes start fail, and the program does not run',
    async box => {
      await box.created('touch /tmp/ran', { hooks: { startContainer: [hook('exit 3')] } })
      await box.fails('start', box.id)
      expect(existsSync(`${box.rootfs}/tmp/ran`)).toBe(false)
      await box.until('stopped')
    },
    { notOnRunc: 'its start returns before the hook ends' },
  )

  conforms(
    'a poststart hook that fails makes start fail and stops the container',
    async box => {
      await box.created(['sleep', '1000'], {
        hooks: { poststart: [hook('exit 3')], poststop: [hook(`touch ${box.path('poststop')}`)] },
      })
      expect(await box.fails('start', box.id)).toContain('poststart')
      await box.fails('state', box.id)
      expect(existsSync(box.path('poststop'))).toBe(true)
    },
    { notOnRunc: POSTSTART },
  )

  conforms(
    'a poststop hook that fails is a warning, and the next one runs',
    async box => {
      await box.started(['true'], { hooks: { poststop: [hook('exit 3'), hook(`touch ${box.path('second')}`)] } })
      await box.until('stopped')
      const { status, stderr } = await box.cli(['delete', box.id])
      expect(status).toBe(0)
      expect(stderr).toContain('poststop')
      expect(existsSync(box.path('second'))).toBe(true)
    },
    { notOnRunc: 'runc 1.1 stops at the first that fails' },
  )

  conforms('a hook that takes longer than its timeout is ended and has failed', async box => {
    const began = performance.now()
    await box.refusal(['true'], { hooks: { createRuntime: [hook('exec sleep 60', { timeout: 1 })] } })
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  conforms('a hook without an absolute path, or with a timeout of 0, is an error', async box => {
    expect(await box.refusal(['true'], { hooks: { createRuntime: [{ path: 'true' }] } })).toMatch(/hook|path|true/)
    expect(await box.refusal(['true'], { hooks: { createRuntime: [{ path: '/bin/true', timeout: 0 }] } })).toContain(
      'timeout',
    )
  })
})
