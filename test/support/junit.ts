/** Reading what `bun test --reporter=junit` writes. */

/** One test that was not run. `reason` is empty when its name gives none. */
export interface SkippedTest {
  readonly name: string
  readonly file: string
  readonly reason: string
}

/** What a report says: how many tests passed and failed, and which were skipped. */
export interface TestReport {
  readonly passedCount: number
  readonly failedCount: number
  readonly skipped: readonly SkippedTest[]
}

/** The end of a skipped test's name, which `testIf()` writes and `parseReport()` reads. */
export function skippedName(name: string, reason: string): string {
  return `${name} [skipped: ${reason}]`
}

/**
 * Reads a JUnit report. A test with `<skipped>` is skipped, one with `<failure>` or `<error>` failed, any other passed.
 * An incomplete report (the writer was killed) yields the tests that are complete.
 */
export function parseReport(xml: string): TestReport {
  let passedCount = 0
  let failedCount = 0
  const skipped: SkippedTest[] = []
  for (const [, attributes = '', body = ''] of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    if (body.includes('<skipped')) skipped.push(skippedTest(attributes))
    else if (body.includes('<failure') || body.includes('<error')) failedCount += 1
    else passedCount += 1
  }
  return { passedCount, failedCount, skipped }
}

function skippedTest(attributes: string): SkippedTest {
  const fullName = attribute(attributes, 'name')
  const [, name = fullName, reason = ''] = /^(.*) \[skipped: (.*)\]$/s.exec(fullName) ?? []
  return { name, reason, file: attribute(attributes, 'file') }
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function attribute(attributes: string, key: string): string {
  const raw = new RegExp(`\\b${key}="([^"]*)"`).exec(attributes)?.[1] ?? ''
  return raw.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, entity) => {
    if (decimal) return String.fromCodePoint(Number(decimal))
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    return ENTITIES[entity] ?? whole
  })
}
