import { pauseContainer, resumeContainer } from '../../runtime/kill.ts'
import type { Grammar } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const pause: Grammar = { name: 'pause', operands: 'ID', help: 'Stops all processes of a container.', options: [] }
const resume: Grammar = { name: 'resume', operands: 'ID', help: 'Lets a paused container go on.', options: [] }

/** `berth runtime pause`. */
export const pauseVerb: RuntimeVerb = {
  grammar: pause,
  async run(call) {
    await pauseContainer(idOperand(call, pause), call.options)
    return 0
  },
}

/** `berth runtime resume`. */
export const resumeVerb: RuntimeVerb = {
  grammar: resume,
  async run(call) {
    await resumeContainer(idOperand(call, resume), call.options)
    return 0
  },
}
