// In a valid document: texts, and what says where they stand.
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]/gs

/**
 * The first name that an object of a JSON document has twice; null when none has. Of two readers of such a document one may take the
 * first, the other the last, or both together. The text must have been parsed before: of what is no JSON nothing is said.
 */
export function duplicateName(json: string): string | null {
  // The names of the objects around; null for an array.
  const around: (Set<string> | null)[] = []
  let text = ''
  for (const [token] of json.matchAll(TOKEN)) {
    if (token === '{') around.push(new Set())
    else if (token === '[') around.push(null)
    else if (token === '}' || token === ']') around.pop()
    else if (token === ':') {
      const names = around.at(-1)
      const name: unknown = JSON.parse(text)
      if (names?.has(String(name))) return String(name)
      names?.add(String(name))
    } else if (token !== ',') text = token
  }
  return null
}
