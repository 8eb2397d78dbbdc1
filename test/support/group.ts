import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseReport, type SkippedTest } from './junit.ts'

/** What running a group of tests came to. `trouble` is text to show when something failed. */
export interface GroupResult {
  readonly passedCount: number
  readonly failedCount: number
  readonly skipped: readonly SkippedTest[]
  readonly trouble: string
}

/** The group that contains nothing. */
export const EMPTY_RESULT: GroupResult = Object.freeze({ passedCount: 0, failedCount: 0, skipped: [], trouble: '' })

/** The root of the checkout. */
export const ROOT = join(import.meta.dir, '../..')
/** The Bun that runs the tests. */
export const BUN = process.execPath
// Enough to see a whole failure with its stack, short enough to find the next one.
const SHOWN_LINES = 120

/** Both results as one. */
export function addResults(a: GroupResult, b: GroupResult): GroupResult {
  return {
    passedCount: a.passedCount + b.passedCount,
    failedCount: a.failedCount + b.failedCount,
    skipped: [...a.skipped, ...b.skipped],
    trouble: [a.trouble, b.trouble].filter(text => text !== '').join('\n'),
  }
}

/** Runs a command as one test: it passes when it exits with 0 within the time. */
export async function runCommand(command: readonly string[], limitSeconds: number): Promise<GroupResult> {
  const { status, output } = await run(command, limitSeconds)
  if (status === 0) return { ...EMPTY_RESULT, passedCount: 1 }
  return { ...EMPTY_RESULT, failedCount: 1, trouble: `${command.join(' ')}: ${status}\n${tail(output)}` }
}

/** What `runTests()` runs, and how. */
export interface TestRun {
  readonly paths: readonly string[]
  /** For all of them together. */
  readonly limitSeconds: number
  /** For one test. */
  readonly testLimitSeconds: number
  /** A command that runs the command after it elsewhere; `reportDir` is a directory both sides see. */
  readonly wrap?: (command: readonly string[], reportDir: string) => readonly string[]
}

/**
 * Runs `bun test` on the paths and counts what its report says.
 * A run that crashes, times out, finds no test, or has a test skipped without a reason counts as a failure more.
 */
export async function runTests({ paths, limitSeconds, testLimitSeconds, wrap }: TestRun): Promise<GroupResult> {
  const reportDir = mkdtempSync(join(tmpdir(), 'berth-report-'))
  try {
    const reportPath = join(reportDir, 'junit.xml')
    const reporter = ['--reporter=junit', `--reporter-outfile=${reportPath}`, '--only-failures']
    const command = [BUN, 'test', ...reporter, `--timeout=${testLimitSeconds * 1000}`, ...paths]
    const { status, output } = await run(wrap?.(command, reportDir) ?? command, limitSeconds)
    const report = parseReport(readReport(reportPath))
    // A file that cannot be loaded is in the summary, but not in the report.
    const [, saidFailed = '0'] = /^ *(\d+) fail$/m.exec(output) ?? []
    const failedTestCount = Math.max(report.failedCount, Number(saidFailed))

    const troubles = []
    if (status !== 0 && failedTestCount === 0) troubles.push(`bun test ${paths.join(' ')}: ${status}, no test failed`)
    if (status === 0 && report.passedCount + report.skipped.length === 0) troubles.push(`${paths.join(' ')}: no tests`)
    for (const { file, name, reason } of report.skipped) {
      if (reason === '') troubles.push(`${file}: skipped without a reason: ${name}`)
    }
    const failedCount = failedTestCount + troubles.length
    if (status !== 0) troubles.push(tail(output))
    return { ...report, failedCount, trouble: troubles.join('\n') }
  } finally {
    rmSync(reportDir, { recursive: true })
  }
}

/** Runs a command in the root of the checkout; `status` is 0, or a text saying how it ended. */
async function run(command: readonly string[], limitSeconds: number): Promise<{ status: 0 | string; output: string }> {
  const outputDir = mkdtempSync(join(tmpdir(), 'berth-output-'))
  try {
    // A file, not a pipe: a process that a broken test leaves behind would hold a pipe open for ever.
    const path = join(outputDir, 'output')
    const child = Bun.spawn([...command], {
      cwd: ROOT,
      stdin: 'ignore',
      stdout: Bun.file(path),
      stderr: Bun.file(path),
      env: { ...process.env, NO_COLOR: '1' },
      detached: true,
    })
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      // Its process group: the command may be a shell with the real work below it.
      process.kill(-child.pid, 'SIGKILL')
    }, limitSeconds * 1000)
    const code = await child.exited
    clearTimeout(timer)
    const status = timedOut ? `no end after ${limitSeconds} s` : code === 0 ? 0 : `exit status ${code}`
    return { status, output: readFileSync(path, 'utf8') }
  } finally {
    rmSync(outputDir, { recursive: true })
  }
}

function readReport(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // The run died before it wrote one; its exit status tells.
    return ''
  }
}

function tail(output: string): string {
  const lines = output.trimEnd().split('\n')
  return lines.length <= SHOWN_LINES ? lines.join('\n') : ['…', ...lines.slice(-SHOWN_LINES)].join('\n')
}
