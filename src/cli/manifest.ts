import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { openRegistry } from '../engine/open-registry.ts'
import { lookUpImage } from '../image/find-image.ts'
import type { ImageStore } from '../image/image-store.ts'
import { annotateManifestList, createManifestList, removeManifestList } from '../image/manifest-list.ts'
import { parseReference, withDefaultTag } from '../oci/reference.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, type Option, type ParsedOptions, parseOptions, UsageError } from './options.ts'
import { printable } from './table.ts'

const HELP: Option = { name: 'help', kind: 'flag', help: 'show this text' }
const warn = (message: string): void => console.error(`berth: warning: ${printable(message)}`)

const createGrammar: Grammar = {
  name: 'manifest create',
  operands: 'LIST IMAGE...',
  help: 'Makes a list of images that are in the store, one per platform.',
  options: [{ name: 'amend', short: 'a', kind: 'flag', help: 'add to a list that is there' }, HELP],
}
const inspectGrammar: Grammar = {
  name: 'manifest inspect',
  operands: 'LIST|IMAGE',
  help: 'Prints a list or a manifest of the store, or else of its registry.',
  options: [HELP],
}
const annotateGrammar: Grammar = {
  name: 'manifest annotate',
  operands: 'LIST IMAGE',
  help: 'Changes what a list says of one of its images.',
  options: [
    { name: 'arch', kind: 'value', value: 'ARCH', help: 'the architecture' },
    { name: 'os', kind: 'value', value: 'OS', help: 'the operating system' },
    { name: 'os-version', kind: 'value', value: 'VERSION', help: "the operating system's version" },
    { name: 'os-features', kind: 'values', value: 'FEATURE', help: "features of the operating system's" },
    { name: 'variant', kind: 'value', value: 'VARIANT', help: "the processor's variant" },
    HELP,
  ],
}
const removeGrammar: Grammar = {
  name: 'manifest rm',
  operands: 'LIST...',
  help: 'Removes lists; images in them that have names stay.',
  options: [HELP],
}

/** Calls a command unless its help is asked for. */
async function withHelp(
  grammar: Grammar,
  args: readonly string[],
  run: (parsed: ParsedOptions) => Promise<number>,
): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (!parsed.flag('help')) return await run(parsed)
  console.log(helpText(grammar, 'berth'))
  return 0
}

async function openStore(roots: GivenRoots): Promise<ImageStore> {
  return (await openEngineWithImages(roots, warn)).images
}

/** `berth manifest create`. */
export async function manifestCreateCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return await withHelp(createGrammar, args, async parsed => {
    const [list, ...sources] = parsed.operands
    if (list === undefined || sources.length === 0) {
      throw new UsageError(createGrammar, 'Cannot create a manifest list: expected its name and images')
    }
    await createManifestList(list, sources, parsed.flag('amend'), await openStore(roots))
    console.log(`Created manifest list ${list}`)
    return 0
  })
}

/** `berth manifest inspect`. */
export async function manifestInspectCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return await withHelp(inspectGrammar, args, async parsed => {
    const [text, ...more] = parsed.operands
    if (text === undefined || more.length > 0) {
      throw new UsageError(inspectGrammar, `Cannot inspect ${parsed.operands.length} lists: expected one`)
    }
    const store = await openStore(roots)
    return await interruptible(async signal => {
      const bytes = (await storedDocument(text, store)) ?? (await registryDocument(text, signal))
      console.log(JSON.stringify(JSON.parse(Buffer.from(bytes).toString()), null, 3))
    })
  })
}

async function storedDocument(text: string, { records, content }: ImageStore): Promise<Uint8Array | null> {
  const found = lookUpImage(text, records)
  if (found === null) return null
  const digest = found.manifest?.digest ?? found.image.digest
  const sizeBytes = await content.find(digest)
  return sizeBytes === null ? null : await content.readDocument({ digest, sizeBytes })
}

async function registryDocument(text: string, signal: AbortSignal): Promise<Uint8Array> {
  using registry = openRegistry(warn)
  return (await registry.fetchDocument(withDefaultTag(parseReference(text)), signal)).bytes
}

/** `berth manifest annotate`. */
export async function manifestAnnotateCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return await withHelp(annotateGrammar, args, async parsed => {
    const [list, source, ...more] = parsed.operands
    if (list === undefined || source === undefined || more.length > 0) {
      throw new UsageError(annotateGrammar, 'Cannot annotate: expected a list and one of its images')
    }
    const change = {
      os: parsed.value('os') ?? null,
      architecture: parsed.value('arch') ?? null,
      variant: parsed.value('variant') ?? null,
      osVersion: parsed.value('os-version') ?? null,
      osFeatures: parsed.values('os-features').flatMap(text => text.split(',')),
    }
    if (change.osFeatures.length === 0 && Object.values(change).every(each => each === null || each.length === 0)) {
      throw new UsageError(annotateGrammar, `Cannot annotate "${source}": expected what to change`)
    }
    await annotateManifestList(list, source, change, await openStore(roots))
    return 0
  })
}

/** `berth manifest rm`. */
export async function manifestRemoveCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  return await withHelp(removeGrammar, args, async parsed => {
    if (parsed.operands.length === 0) throw new UsageError(removeGrammar, 'Cannot remove lists: none is named')
    const store = await openStore(roots)
    for (const list of parsed.operands) await removeManifestList(list, store)
    return 0
  })
}
