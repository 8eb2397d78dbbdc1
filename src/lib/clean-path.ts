/**
 * A path from the root without doubled slashes, dots, and a slash at its end; `..` takes the name before it away, and nothing at the root.
 * Only the text is looked at, no link.
 */
export function cleanPath(path: string): string {
  const names: string[] = []
  for (const name of path.split('/')) {
    if (name === '..') names.pop()
    else if (name !== '' && name !== '.') names.push(name)
  }
  return `/${names.join('/')}`
}
