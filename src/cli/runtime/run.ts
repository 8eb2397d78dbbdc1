import { GivenLauncher } from '../../host/given-launcher.ts'
import { runContainer } from '../../runtime/run.ts'
import type { Grammar } from '../options.ts'
import { CREATE_OPTIONS, readCreateOptions } from './create-options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime run',
  operands: 'ID',
  help: 'Creates and starts a container, waits for it and removes it.',
  options: [
    ...CREATE_OPTIONS,
    { name: 'detach', short: 'd', kind: 'flag', help: 'do not wait for it' },
    { name: 'keep', kind: 'flag', help: 'do not remove it when it has ended' },
    { name: 'no-subreaper', kind: 'flag', help: 'accepted for compatibility; this runtime never is one' },
  ],
}

/** `berth runtime run`. */
export const runVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const { launcherFd, command } = call
    return await runContainer(idOperand(call, grammar), {
      ...call.options,
      ...(launcherFd !== null && {
        front: { launcher: new GivenLauncher(launcherFd), command },
      }),
      ...readCreateOptions(call),
      detach: call.parsed.flag('detach'),
      keep: call.parsed.flag('keep'),
    })
  },
}
