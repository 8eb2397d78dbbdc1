/** Execution domains. Source: personality(2), include/uapi/linux/personality.h, runtime-spec › Personality. */

const PER_LINUX = 0x0000
const PER_LINUX32 = 0x0008

/** `linux.personality.domain` → the argument of personality(2). */
export const PERSONALITY_DOMAIN = { LINUX: PER_LINUX, LINUX32: PER_LINUX32 } as const

export type PersonalityDomain = keyof typeof PERSONALITY_DOMAIN
