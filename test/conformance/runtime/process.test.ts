/** `process` of config.json, seen from inside. Source: runtime-spec › Process. */

import { describe, expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Capabilities } from '../../../src/oci/runtime-spec.ts'
import { conforms } from './harness.ts'

const NEWER = 'newer than the spec of runc 1.1'

describe('process', () => {
  conforms('process.args is executed as execvp(3) would, with PATH of process.env', async box => {
    expect(await box.see(['echo', 'a b', '$X', '', 'c'])).toBe('a b $X  c')
    expect(await box.see(['/bin/echo', 'absolute'])).toBe('absolute')
    expect(await box.see(['./bin/echo', 'relative'])).toBe('relative')
  })

  conforms('process.args that is empty or names no program is an error', async box => {
    expect(await box.refusal([])).not.toBe('')
    expect((await box.run(['nosuch'])).status).not.toBe(0)
    expect((await box.run(['/etc/passwd'])).status).not.toBe(0)
  })

  conforms('process.env is the environment, with HOME from /etc/passwd where it is not set', async box => {
    const env = async (user: object, ...env: string[]) =>
      (await box.see(['env'], { process: { env, user } })).split('\n')
    expect(await env({ uid: 1000, gid: 1000 }, 'A=1', 'B=x=y z')).toEqual(
      expect.arrayContaining(['A=1', 'B=x=y z', 'PATH=/bin', 'HOME=/home/user']),
    )
    expect(await env({}, 'HOME=/elsewhere')).toContain('HOME=/elsewhere')
    expect(await env({ uid: 77, gid: 77 })).toContain('HOME=/')
  })

  conforms('process.cwd is the working directory and is made where it is absent', async box => {
    expect(await box.see(['pwd'], { process: { cwd: '/data/below' } })).toBe('/data/below')
    expect(await box.see(['pwd'], { process: { cwd: '/new/deep' } })).toBe('/new/deep')
    expect(await box.refusal(['pwd'], { process: { cwd: 'relative' } })).toMatch(/cwd/i)
  })

  conforms('process.user sets uid, gid, supplementary groups and umask', async box => {
    const user = { uid: 1000, gid: 1001, additionalGids: [5, 6], umask: 0o027 }
    const seen = await box.see(
      'id -u; id -g; grep Groups /proc/self/status; umask; touch /tmp/x; stat -c "%u %g %a" /tmp/x',
      {
        process: { user },
      },
    )
    expect(seen.split('\n').map(line => line.trim())).toEqual([
      '1000',
      '1001',
      expect.stringMatching(/^Groups:\s+5 6$/),
      '0027',
      '1000 1001 640',
    ])
    expect(await box.see('umask; grep Groups /proc/self/status')).toMatch(/^0022\nGroups:\s*$/)
  })

  conforms('process.capabilities sets each of the five sets', async box => {
    const capabilities = {
      bounding: ['CAP_KILL', 'CAP_CHOWN', 'CAP_NET_RAW', 'CAP_SETUID'],
      permitted: ['CAP_KILL', 'CAP_CHOWN', 'CAP_NET_RAW'],
      inheritable: ['CAP_KILL', 'CAP_CHOWN'],
      effective: ['CAP_KILL', 'CAP_CHOWN'],
      ambient: ['CAP_KILL'],
    }
    // execve computes the sets of root anew, so only another user shows what was set.
    const user = { uid: 1000, gid: 1000 }
    expect(await box.see('grep ^Cap /proc/self/status', { process: { capabilities, user } })).toBe(
      capabilityLines({ Inh: 0x21, Prm: 0x20, Eff: 0x20, Bnd: 0x20a1, Amb: 0x20 }),
    )
    const everyone = {
      bounding: capabilities.bounding,
      permitted: capabilities.bounding,
      effective: capabilities.bounding,
    }
    expect(await box.see('grep ^Cap /proc/self/status', { process: { capabilities: everyone } })).toBe(
      capabilityLines({ Inh: 0, Prm: 0x20a1, Eff: 0x20a1, Bnd: 0x20a1, Amb: 0 }),
    )
  })

  conforms('process without capabilities has none', async box => {
    const { capabilities: _, ...process } = box.spec(['grep', '^Cap', '/proc/self/status']).process ?? { cwd: '/' }
    box.write({ ...box.spec([]), process })
    const { stdout } = await box.cli(['run', box.id])
    expect(stdout.trim()).toBe(capabilityLines({ Inh: 0, Prm: 0, Eff: 0, Bnd: 0, Amb: 0 }))
  })

  conforms('process.capabilities that the kernel does not know are a warning, not an error', async box => {
    const set = ['CAP_KILL', 'CAP_FLY']
    const capabilities: Capabilities = { bounding: set, permitted: set, effective: set }
    const { status, stdout, stderr } = await box.run('grep CapEff /proc/self/status', { process: { capabilities } })
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'CapEff:\t0000000000000020\n' })
    expect(stderr).toContain('CAP_FLY')
  })

  conforms('process.rlimits sets soft and hard limits', async box => {
    const rlimits = [
      { type: 'RLIMIT_NOFILE', soft: 100n, hard: 200n },
      { type: 'RLIMIT_CORE', soft: 0n, hard: 0n },
      { type: 'RLIMIT_FSIZE', soft: 8192n, hard: 16384n },
      { type: 'RLIMIT_NPROC', soft: 50n, hard: 60n },
      { type: 'RLIMIT_STACK', soft: 1048576n, hard: 2097152n },
    ]
    const seen = await box.see('cat /proc/self/limits', { process: { rlimits } })
    const limit = (name: string) => new RegExp(`^${name} +(\\S+) +(\\S+)`, 'm').exec(seen)?.slice(1).join(' ')
    expect(
      ['Max open files', 'Max core file size', 'Max file size', 'Max processes', 'Max stack size'].map(limit),
    ).toEqual(['100 200', '0 0', '8192 16384', '50 60', '1048576 2097152'])
  })

  conforms('process.rlimits that are hit are felt', async box => {
    const rlimits = [{ type: 'RLIMIT_FSIZE', soft: 4096n, hard: 4096n }]
    expect(
      (await box.run('dd if=/dev/zero of=/tmp/big bs=8192 count=1 2>/dev/null', { process: { rlimits } })).status,
    ).not.toBe(0)
  })

  conforms('process.rlimits of an unknown type or twice of one type are an error', async box => {
    const rlimit = { type: 'RLIMIT_NOFILE', soft: 100n, hard: 200n }
    expect(await box.refusal(['true'], { process: { rlimits: [{ ...rlimit, type: 'RLIMIT_LUCK' }] } })).toMatch(
      /RLIMIT_LUCK/,
    )
    if (box.runtime.name === 'runc') return // It takes the last of the two.
    expect(await box.refusal(['true'], { process: { rlimits: [rlimit, rlimit] } })).toMatch(/RLIMIT_NOFILE/)
  })

  conforms('process.noNewPrivileges sets no_new_privs, or leaves it off', async box => {
    const seen = (noNewPrivileges: boolean) =>
      box.see('grep NoNewPrivs /proc/self/status', { process: { noNewPrivileges } })
    expect(await seen(true)).toBe('NoNewPrivs:\t1')
    expect(await seen(false)).toBe('NoNewPrivs:\t0')
  })

  conforms('process.oomScoreAdj is set, and without it the runtime’s own stays', async box => {
    const own = readFileSync('/proc/self/oom_score_adj', 'utf8').trim()
    expect(await box.see(['cat', '/proc/self/oom_score_adj'], { process: { oomScoreAdj: 345 } })).toBe('345')
    expect(await box.see(['cat', '/proc/self/oom_score_adj'])).toBe(own)
  })

  conforms(
    'process.scheduler sets policy, nice value and flags',
    async box => {
      const see = (scheduler: object) => box.see(['probe', 'sched'], { process: { scheduler: scheduler as never } })
      expect(await see({ policy: 'SCHED_BATCH', nice: 5 })).toBe('policy=3 nice=5 priority=0 flags=0')
      expect(await see({ policy: 'SCHED_IDLE' })).toBe('policy=5 nice=0 priority=0 flags=0')
      expect(await see({ policy: 'SCHED_OTHER', nice: 19, flags: ['SCHED_FLAG_RESET_ON_FORK'] })).toBe(
        'policy=0 nice=19 priority=0 flags=1',
      )
    },
    { notOnRunc: NEWER },
  )

  conforms(
    'process.scheduler with a value that its policy does not have is an error',
    async box => {
      const refusal = (scheduler: object) => box.refusal(['true'], { process: { scheduler: scheduler as never } })
      expect(await refusal({ policy: 'SCHED_OTHER', priority: 3 })).toContain('process.scheduler.priority')
      expect(await refusal({ policy: 'SCHED_DEADLINE' })).toContain('process.scheduler')
      expect(await refusal({ policy: 'SCHED_ISO' })).toContain('SCHED_ISO')
    },
    { notOnRunc: NEWER },
  )

  conforms(
    'process.ioPriority sets class and priority',
    async box => {
      const see = (ioPriority: object) => box.see(['ionice'], { process: { ioPriority: ioPriority as never } })
      expect(await see({ class: 'IOPRIO_CLASS_BE', priority: 6 })).toMatch(/best-effort.*prio 6/)
      expect(await see({ class: 'IOPRIO_CLASS_IDLE', priority: 0 })).toMatch(/idle/)
    },
    { notOnRunc: NEWER },
  )

  conforms(
    'process.execCPUAffinity pins what exec runs, not the first process',
    async box => {
      await box.started(['sleep', '1000'], { process: { execCPUAffinity: { initial: '0', final: '0' } } })
      const allowed = (status: string) => /^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1]
      const { pid } = await box.state()
      expect(allowed(readFileSync(`/proc/${pid}/status`, 'utf8'))).toBe(
        allowed(readFileSync('/proc/self/status', 'utf8')),
      )
      expect(allowed(await box.ok('exec', box.id, 'cat', '/proc/self/status'))).toBe('0')
    },
    { notOnRunc: NEWER },
  )

  conforms('the exit status of the program is that of run', async box => {
    expect((await box.run('exit 7')).status).toBe(7)
    expect((await box.run(['true'])).status).toBe(0)
  })

  conforms('stdin, stdout and stderr are the caller’s, and no other fd is open', async box => {
    const outcome = await box.run('cat; echo said >&2', {}, 'given\n')
    expect(outcome).toEqual({ status: 0, stdout: 'given\n', stderr: 'said\n' })
    expect(await box.see(['probe', 'fds'])).toBe('0 1 2')
  })

  conforms(
    'process.apparmorProfile and process.selinuxLabel are an error where the host has no such module',
    async box => {
      expect(await box.refusal(['true'], { process: { apparmorProfile: 'some' } })).toMatch(/apparmor/i)
      if (box.runtime.name === 'runc') return // Its build for Debian ignores the label.
      expect(await box.refusal(['true'], { process: { selinuxLabel: 'system_u:system_r:container_t:s0' } })).toMatch(
        /selinux/i,
      )
    },
  )
})

function capabilityLines(sets: Readonly<Record<string, number>>): string {
  return Object.entries(sets)
    .map(([name, bits]) => `Cap${name}:\t${bits.toString(16).padStart(16, '0')}`)
    .join('\n')
}
