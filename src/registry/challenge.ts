/**
 * Challenges: what a server wants to see before it answers.
 * Source: RFC 9110, section 11.6.1 (WWW-Authenticate); RFC 6750, section 3 (Bearer); distribution › Token Authentication.
 */

/** One challenge: its scheme in lower case and its parameters, their names in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: Readonly<Record<string, string>>
}

/** No server has a reason for more than a handful. */
const CHALLENGES_LIMIT = 10
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const PARAMETER =
  /[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~0-9A-Za-z/:?&=-]+))/y
const SEPARATORS = /[ \t,]*/y

/** Reads WWW-Authenticate headers, joined by commas; what is malformed ends the list, as nothing after it can be understood. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: Challenge[] = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(header)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  while (challenges.length < CHALLENGES_LIMIT) {
    take(SEPARATORS)
    const scheme = take(TOKEN)?.[0]
    if (scheme === undefined) break
    const parameters: Record<string, string> = {}
    for (let match = take(PARAMETER); match !== null; match = take(PARAMETER)) {
      const [, name = '', quoted, bare = ''] = match
      parameters[name.toLowerCase()] = quoted === undefined ? bare : quoted.replace(/\\(.)/g, '$1')
      take(SEPARATORS)
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters })
  }
  return challenges
}
