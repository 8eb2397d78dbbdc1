import { BerthError } from '../../lib/error.ts'
import type { UnitProperty } from '../../linux/cgroup/systemd-properties.ts'
import { busPath, DbusConnection, DbusError } from '../dbus/connection.ts'

const SYSTEMD = 'org.freedesktop.systemd1'
const MANAGER = `${SYSTEMD}.Manager`
const OBJECT = '/org/freedesktop/systemd1'

/** How long systemd may take for a job: runc's bound as well. */
const JOB_TIMEOUT_MS = 30_000

/** The calls to systemd that a container's unit needs. Source: org.freedesktop.systemd1(5). */
export class SystemdBus implements Disposable {
  readonly #connection: DbusConnection

  private constructor(connection: DbusConnection) {
    this.#connection = connection
  }

  /** Connects to the system's or the user's instance. @throws {BerthError} unavailable */
  static async open(bus: 'system' | 'user'): Promise<SystemdBus> {
    return new SystemdBus(await DbusConnection.open(busPath(bus, process.env)))
  }

  #call(member: string, signature: string, body: readonly unknown[]): Promise<readonly unknown[]> {
    return this.#connection.call({ destination: SYSTEMD, path: OBJECT, interface: MANAGER, member, signature, body })
  }

  /** A text property of the manager: `Version`, `ControlGroup`. */
  async managerProperty(name: string): Promise<string> {
    const [variant] = await this.#connection.call({
      destination: SYSTEMD,
      path: OBJECT,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      signature: 'ss',
      body: [MANAGER, name],
    })
    return typeof variant === 'object' && variant !== null && 'value' in variant ? String(variant.value) : ''
  }

  /**
   * Starts a transient unit and waits until systemd is done. A failed unit of the same name that is still listed is cleared first.
   * @throws {BerthError} conflict: a unit of the name is running
   */
  async startTransientUnit(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    const start = () => this.#job('StartTransientUnit', 'ssa(sv)a(sa(sv))', [unit, 'replace', properties, []])
    try {
      await start().catch(async error => {
        if (!isUnitExists(error)) throw error
        await this.resetFailedUnit(unit)
        await start()
      })
    } catch (error) {
      if (isUnitExists(error)) {
        throw new BerthError('conflict', `Cannot start unit "${unit}": a unit of this name is there`, { cause: error })
      }
      throw error
    }
  }

  /** Stops a unit and waits; one that is not there is what was wanted. */
  async stopUnit(unit: string): Promise<void> {
    try {
      await this.#job('StopUnit', 'ss', [unit, 'replace'])
    } catch (error) {
      if (!isNoSuchUnit(error)) throw error
    }
  }

  /** Lets systemd forget a failed unit; one that it does not know is forgotten already. */
  async resetFailedUnit(unit: string): Promise<void> {
    try {
      await this.#call('ResetFailedUnit', 's', [unit])
    } catch (error) {
      if (!isNoSuchUnit(error)) throw error
    }
  }

  /** Changes properties of a running unit, until it ends. */
  async setUnitProperties(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    await this.#call('SetUnitProperties', 'sba(sv)', [unit, true, properties])
  }

  async #job(member: string, signature: string, body: readonly unknown[]): Promise<void> {
    const results = new Map<string, string>()
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    let job = ''
    // The signal may come before the answer that names the job, so all are kept until then.
    const rule = `type='signal',sender='${SYSTEMD}',interface='${MANAGER}',member='JobRemoved'`
    using _ = await this.#connection.subscribe(rule, signal => {
      if (signal.member !== 'JobRemoved') return
      const [, path, , result] = signal.body
      results.set(String(path), String(result))
      if (job !== '' && String(path) === job) resolve(String(result))
    })
    await this.#call('Subscribe', '', []).catch(error => {
      // The same connection has asked before.
      if (!(error instanceof DbusError) || !error.errorName.endsWith('AlreadySubscribed')) throw error
    })
    job = String((await this.#call(member, signature, body))[0])
    const early = results.get(job)
    if (early !== undefined) resolve(early)
    const late = () =>
      reject(
        new BerthError(
          'unavailable',
          `Cannot wait for ${member} of unit "${body[0]}": not done in ${JOB_TIMEOUT_MS} ms`,
        ),
      )
    const timer = setTimeout(late, JOB_TIMEOUT_MS)
    try {
      const result = await promise
      if (result !== 'done') {
        throw new BerthError(
          'unavailable',
          `Cannot run ${member} of unit "${body[0]}": systemd says ${result}, expected done`,
        )
      }
    } finally {
      clearTimeout(timer)
    }
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]()
  }
}

function isUnitExists(error: unknown): boolean {
  return error instanceof DbusError && error.errorName === `${SYSTEMD}.UnitExists`
}

function isNoSuchUnit(error: unknown): boolean {
  return error instanceof DbusError && error.errorName === `${SYSTEMD}.NoSuchUnit`
}
