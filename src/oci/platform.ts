/**
 * Platforms: what an image runs on, and which of several fits best.
 * Source: image-spec › Image Index › platform; Platform Variants. Names are Go's GOOS and GOARCH.
 */
import { BerthError } from '../lib/error.ts'
import { exactObject, list, required, type Shape, text } from '../lib/json-shape.ts'

/** Where an image can run. `variant` is of the processor, such as `v8` of arm64. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
}

/** The shape of a platform in an index. */
export const platform: Shape<Platform> = exactObject<Platform>({
  os: required(text),
  architecture: required(text),
  variant: text,
  'os.version': text,
  'os.features': list(text),
})

const ALIASES: Readonly<Record<string, Pick<Platform, 'architecture' | 'variant'>>> = {
  x86_64: { architecture: 'amd64' },
  'x86-64': { architecture: 'amd64' },
  x64: { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  i386: { architecture: '386' },
  i686: { architecture: '386' },
  ia32: { architecture: '386' },
  armhf: { architecture: 'arm', variant: 'v7' },
  armel: { architecture: 'arm', variant: 'v6' },
}

/** Variants, each running all before it; the first of the list is what an absent one means, unless said below. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  amd64: ['v1', 'v2', 'v3', 'v4'],
  arm: ['v5', 'v6', 'v7', 'v8'],
  arm64: ['v8', 'v9'],
}

const DEFAULT_VARIANT: Readonly<Record<string, string>> = { amd64: 'v1', arm: 'v7', arm64: 'v8' }

/**
 * Parses `os/architecture[/variant]`, or just an architecture, which means Linux.
 * @throws {BerthError} invalidArgument
 */
export function parsePlatform(value: string): Platform {
  const parts = value.toLowerCase().split('/')
  if (parts.length > 3 || !parts.every(part => /^[a-z0-9_.-]+$/.test(part))) {
    throw new BerthError('invalidArgument', `Cannot parse platform "${value}": expected os/architecture[/variant]`)
  }
  const [os = '', architecture = '', variant] = parts.length === 1 ? ['linux', ...parts] : parts
  return normalize({ os, architecture, ...(variant === undefined ? {} : { variant }) })
}

/** The platform of a machine, by Node's name of its architecture (`process.arch`). */
export function linuxPlatform(arch: string): Platform {
  return normalize({ os: 'linux', architecture: arch })
}

/** As it is written on command lines: `linux/arm64/v8`. */
export function printPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/')
}

function normalize(platform: Platform): Platform {
  const alias = Object.hasOwn(ALIASES, platform.architecture) ? ALIASES[platform.architecture] : undefined
  return alias === undefined ? platform : { ...alias, ...platform, architecture: alias.architecture }
}

/**
 * How well an image for `offered` runs on `wanted`: 0 perfectly, a larger number less so (an older variant), null not at all.
 * An absent variant is the architecture's usual one: amd64 v1, arm v7, arm64 v8. What needs a feature of the system runs only where that is
 * there; `os.version` says something of Windows only, which nothing here runs.
 */
export function platformDistance(wanted: Platform, offered: Platform): number | null {
  const want = normalize(wanted)
  const offer = normalize(offered)
  if (want.os !== offer.os || want.architecture !== offer.architecture) return null
  const features = want['os.features'] ?? []
  if (offer['os.features']?.some(feature => !features.includes(feature))) return null
  const wantVariant = want.variant ?? DEFAULT_VARIANT[want.architecture] ?? ''
  const offerVariant = offer.variant ?? DEFAULT_VARIANT[want.architecture] ?? ''
  if (wantVariant === offerVariant) return 0
  const order = VARIANTS[want.architecture] ?? []
  const distance = order.indexOf(wantVariant) - order.indexOf(offerVariant)
  return order.includes(wantVariant) && order.includes(offerVariant) && distance > 0 ? distance : null
}

/** The candidate that fits best, the first of equals; undefined when none does. */
export function bestMatch<T extends { readonly platform?: Platform }>(
  wanted: Platform,
  candidates: readonly T[],
): T | undefined {
  let best: { readonly candidate: T; readonly distance: number } | undefined
  for (const candidate of candidates) {
    const distance = candidate.platform === undefined ? null : platformDistance(wanted, candidate.platform)
    if (distance !== null && (best === undefined || distance < best.distance)) best = { candidate, distance }
  }
  return best?.candidate
}
