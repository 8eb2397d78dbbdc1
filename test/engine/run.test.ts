/** `berth run`: what a container is, as it looks from inside, and that the host is unchanged. */

import { describe, expect } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { engineTest } from './engine-box.ts'

describe('berth run host', () => {
  engineTest('prints hello', async box => {
    expect(await box.run('host', 'echo', 'hello')).toEqual({ status: 0, stdout: 'hello\n', stderr: '' })
  })

  engineTest('is a machine of its own, and the host is unchanged', async box => {
    const script = [
      'id -u; hostname; ps ax -o pid= | wc -l; ls /sys/class/net',
      'cat /proc/self/uid_map; touch /etc/berth-x /usr/berth-y && rm -r /etc/apt; echo $?',
      'hostname other; umount /proc; kill -9 -1; echo end',
    ]
    const { stdout } = await box.sh(['--hostname', 'ship'], script.join('\n'))
    expect(stdout.replaceAll(/ +/g, ' ')).toMatch(/^0\nship\n\d\nlo\n 0 1\d{6} 65536\n0\n/)
    expect(Number(stdout.split('\n')[2])).toBeLessThan(6)
    expect(hostname()).not.toBe('ship')
    expect(['/etc/berth-x', '/usr/berth-y', '/proc/self'].map(path => existsSync(path))).toEqual([false, false, true])
    expect(existsSync('/etc/apt')).toBe(true)
  })

  engineTest('hides what is private', async box => {
    const { stdout } = await box.sh(
      [],
      `ls -A /root /home /tmp /etc/shadow /etc/ssh ${box.base} 2>/dev/null; id root >/dev/null && echo known`,
    )
    expect(stdout).toBe('/home:\n\n/root:\n\n/tmp:\nknown\n')
  })

  engineTest(
    'holds no capability that is not on the list, and runs under a filter without new privileges',
    async box => {
      const { stdout } = await box.sh([], 'grep -E "^(CapBnd|CapEff|NoNewPrivs|Seccomp):" /proc/self/status')
      expect(stdout.replaceAll('\t', ' ')).toBe(
        'CapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nNoNewPrivs: 1\nSeccomp: 2\n',
      )
    },
  )
})

describe('options of berth run', () => {
  engineTest('set environment, directory, user and groups', async box => {
    const env = box.file('env', '# a comment\nFROM_FILE=1\nBOTH=file\n')
    const options = ['--env-file', env, '-e', 'BOTH=flag', '-w', '/new/place', '-u', 'nobody', '--group-add', '77']
    const { stdout } = await box.sh(options, 'echo $FROM_FILE $BOTH; pwd; id -u; id -G; grep CapEff /proc/self/status')
    expect(stdout).toBe('1 flag\n/new/place\n65534\n65534 77\nCapEff:\t0000000000000000\n')
    const numbers = await box.run('-u', '12:34', 'host', 'id', '-G')
    expect(numbers.stdout).toBe('34\n')
  })

  engineTest('set limits and settings of the kernel', async box => {
    const options = ['--ulimit', 'nofile=100:200', '--sysctl', 'kernel.msgmax=1234', '--oom-score-adj', '500']
    const { stdout } = await box.sh(
      options,
      'ulimit -Sn; ulimit -Hn; cat /proc/sys/kernel/msgmax /proc/self/oom_score_adj',
    )
    expect(stdout).toBe('100\n200\n1234\n500\n')
  })

  engineTest('--device gives a device of the host, with the access that is asked for', async box => {
    const { stdout, stderr } = await box.sh(['--device', '/dev/zero:/dev/nil:r'], 'head -c 3 /dev/nil | wc -c')
    expect([stdout, stderr]).toEqual(['3\n', ''])
    expect((await box.run('--device', '/dev/nosuch', 'host', 'true')).stderr).toBe(
      'berth: Cannot use device "/dev/nosuch": it does not exist\n',
    )
  })

  engineTest('--privileged gives all capabilities but those that are dropped', async box => {
    const status = 'grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; cat /proc/self/uid_map'
    const { stdout } = await box.sh(['--privileged'], status)
    const own = readFileSync('/proc/self/status', 'utf8')
    const all = /^CapPrm:\t(\w+)$/m.exec(own)?.[1]
    expect(stdout.replaceAll(/ +/g, ' ')).toBe(`CapBnd:\t${all}\nNoNewPrivs:\t0\nSeccomp:\t0\n 0 0 4294967295\n`)
    const less = await box.sh(['--privileged', '--cap-drop', 'ALL', '--cap-add', 'chown'], status)
    expect(less.stdout).toStartWith('CapBnd:\t0000000000000001\n')
  })

  engineTest('--security-opt turns off one thing each', async box => {
    const status = 'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status; wc -c < /proc/keys'
    const off = ['seccomp=unconfined', 'no-new-privileges=false', 'systempaths=unconfined']
    const { stdout } = await box.sh(
      off.flatMap(each => ['--security-opt', each]),
      status,
    )
    expect(stdout).toMatch(/^NoNewPrivs:\t0\nSeccomp:\t0\n[1-9]/)
    expect((await box.sh([], status)).stdout).toBe('NoNewPrivs:\t1\nSeccomp:\t2\n0\n')
  })

  engineTest('--userns=host and --network=host share those namespaces, and no others', async box => {
    const own = ['user', 'net', 'mnt', 'pid', 'uts', 'ipc', 'cgroup'] as const
    const links = own.map(name => `/proc/self/ns/${name}`).join(' ')
    const look = async (...options: readonly string[]): Promise<readonly string[]> => {
      const inside = (await box.sh(options, `readlink ${links}`)).stdout.trim().split('\n')
      const outside = Bun.spawnSync(['readlink', ...links.split(' ')])
        .stdout.toString()
        .trim()
        .split('\n')
      return own.filter((_, index) => inside[index] === outside[index])
    }
    expect(await look()).toEqual([])
    expect(await look('--userns=host', '--network=host')).toEqual(['user', 'net'])
    expect(await look('--network', 'host')).toEqual(['net'])
  })
})

describe('limits of berth run', () => {
  engineTest('-m ends a program that takes more, with 137', async box => {
    expect((await box.run('-m', '64m', 'host', 'tail', '/dev/zero')).status).toBe(137)
  })

  engineTest('--pids-limit stops a program that forks more', async box => {
    const { stdout, stderr } = await box.sh(
      ['--pids-limit', '8'],
      'echo begin; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2 & done',
    )
    expect(stdout).toBe('begin\n')
    expect(stderr).toContain('Cannot fork')
  })

  engineTest('--cpus throttles', async box => {
    const { stdout } = await box.sh(
      ['--cpus', '0.2'],
      'timeout 0.5 sh -c "while :; do :; done"; cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat 2>/dev/null',
    )
    expect(Number(/^nr_throttled (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(0)
  })
})

describe('exit status of berth run', () => {
  const cases: readonly (readonly [args: readonly string[], status: number, message: string])[] = [
    [['host', 'sh', '-c', 'exit 42'], 42, ''],
    [['--init', 'host', 'sh', '-c', 'kill -9 $$'], 137, ''],
    [['--init', 'host', 'sh', '-c', 'kill -TERM $$'], 143, ''],
    [['--no-such-option', 'host'], 125, 'Cannot use option "--no-such-option"'],
    [['./no-such-image', 'true'], 125, 'Cannot find image "./no-such-image"'],
    [['--pull=never', 'no-such-image', 'true'], 125, 'Cannot run image "no-such-image": it is not in the store'],
    [['host', '/etc/passwd'], 126, 'permission denied'],
    [['host', '/etc'], 126, 'permission denied'],
    [['host', 'no-such-program'], 127, 'executable file not found in $PATH'],
    [['-u', 'no-such-user', 'host', 'true'], 125, 'Cannot find user "no-such-user"'],
    [['-u', '4294967296', 'host', 'true'], 125, 'Cannot use user "4294967296"'],
    [['--cap-add', 'FLY', 'host', 'true'], 125, 'Cannot use capability "FLY"'],
    [['--hostname', 'a\nb', 'host', 'true'], 125, 'Cannot use host name "a\\nb"'],
  ]
  engineTest('is the program’s, 128 and its signal, or tells whose failure it was', async box => {
    for (const [args, status, message] of cases) {
      const outcome = await box.run(...args)
      expect({ args, status: outcome.status }).toEqual({ args, status })
      expect(outcome.stderr).toContain(message)
      expect(outcome.stderr.split('\n').length).toBeLessThanOrEqual(2)
    }
  })
})
