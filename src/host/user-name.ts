import { readFileSync } from 'node:fs'

/** The name of a user of the host; his id as text when /etc/passwd has none for it. Source: passwd(5). */
export function userName(uid: number): string {
  let text: string
  try {
    text = readFileSync('/etc/passwd', 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return String(uid)
  }
  const line = text.split('\n').find(each => each.split(':')[2] === String(uid))
  return line?.split(':')[0] ?? String(uid)
}
