/** Longer answers are no answers. */
const ANSWER_LIMIT = 1024

/** Asks, as docker does, on standard error for a yes, which is `y` or `yes`; the end of standard input is a no. */
export async function confirm(warning: string): Promise<boolean> {
  process.stderr.write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `)
  let answer = ''
  for await (const piece of process.stdin) {
    answer += String(piece)
    if (answer.includes('\n') || answer.length > ANSWER_LIMIT) break
  }
  return /^y(?:es)?$/i.test(answer.split('\n')[0]?.trim() ?? '')
}
