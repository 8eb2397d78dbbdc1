import type { GivenRoots } from '../engine/data-root.ts'
import { inspectContainer } from '../engine/inspect-container.ts'
import { type EngineWithImages, openEngineWithImages } from '../engine/open-images.ts'
import { type FoundImage, findImage } from '../image/find-image.ts'
import { inspectImage } from '../image/inspect-image.ts'
import { BerthError } from '../lib/error.ts'
import { Template } from '../lib/template/template.ts'
import { plainOf, type Value } from '../lib/template/value.ts'
import { type Platform, parsePlatform } from '../oci/platform.ts'
import { fail, warnOnStderr } from './failure.ts'
import { type Grammar, helpText, type Option, parseOptions, UsageError } from './options.ts'

type Kind = 'container' | 'image'

const OPTIONS: readonly Option[] = [
  {
    name: 'format',
    short: 'f',
    kind: 'value',
    value: 'FORMAT',
    help: 'json, or a Go template (default: indented JSON)',
  },
  { name: 'platform', kind: 'value', value: 'PLATFORM', help: 'this one of an image (default: that of this machine)' },
  { name: 'help', kind: 'flag', help: 'show this text' },
]
const grammar: Grammar = {
  name: 'inspect',
  operands: 'NAME|ID...',
  help: 'Prints what is known of containers and images, as JSON.',
  options: [{ name: 'type', kind: 'value', value: 'TYPE', help: 'image or container only' }, ...OPTIONS],
}
const imageGrammar: Grammar = {
  name: 'image inspect',
  operands: 'IMAGE...',
  help: 'Prints what is known of images, as JSON.',
  options: OPTIONS,
}

/** Docker's status when some objects could not be found. */
const SOME_FAILED = 1

/** `berth inspect`. */
export async function inspectCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return await inspect(grammar, args, roots)
}

/** `berth image inspect`. */
export async function imageInspectCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return await inspect(imageGrammar, args, roots)
}

async function inspect(given: Grammar, args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(given, args)
  if (parsed.flag('help')) {
    console.log(helpText(given, 'berth'))
    return 0
  }
  if (parsed.operands.length === 0) throw new UsageError(given, 'Cannot inspect: nothing is named')
  const kinds = given === imageGrammar ? (['image'] as const) : kindsOf(parsed.value('type'))
  const platform = parsed.value('platform')
  const format = parsed.value('format')
  const template = format === undefined || format === '' || format === 'json' ? null : Template.parse(format)
  const engine = await openEngineWithImages(roots, warnOnStderr)
  const values: Value[] = []
  let status = 0
  for (const text of parsed.operands) {
    try {
      values.push(await lookUp(text, kinds, engine, platform === undefined ? null : parsePlatform(platform)))
    } catch (error) {
      if (!(error instanceof BerthError)) throw error
      fail(error)
      status = SOME_FAILED
    }
  }
  if (template !== null) for (const value of values) console.log(template.execute(value))
  else console.log(JSON.stringify(values.map(plainOf), null, format === 'json' ? 0 : 4))
  return status
}

function kindsOf(type: string | undefined): readonly Kind[] {
  if (type === undefined || type === '') return ['container', 'image']
  if (type === 'container' || type === 'image') return [type]
  throw new UsageError(grammar, `Cannot inspect type "${type}": expected image or container`)
}

/** As docker, containers come first. */
async function lookUp(
  text: string,
  kinds: readonly Kind[],
  engine: EngineWithImages,
  platform: Platform | null,
): Promise<Value> {
  if (kinds.includes('container')) {
    try {
      return await inspectContainer(text, engine)
    } catch (error) {
      const isOther = error instanceof BerthError && error.category === 'notFound' && kinds.includes('image')
      if (!isOther) throw error
    }
  }
  const found = kinds.includes('container') ? anyImage(text, engine) : findImage(text, engine.images.records)
  return await inspectImage(found, engine.images, (await engine.snapshots()).name, platform)
}

/** Of what is neither, it is not known which of the two was meant. */
function anyImage(text: string, { images }: EngineWithImages): FoundImage {
  try {
    return findImage(text, images.records)
  } catch (error) {
    if (!(error instanceof BerthError && error.category === 'notFound')) throw error
    const message = `Cannot inspect "${text}": no container and no image has that name or id`
    throw new BerthError('notFound', message, { cause: error })
  }
}
