import { describe, expect, test } from 'bun:test'
import { parseReport, skippedName } from './junit.ts'

describe('parseReport()', () => {
  test('counts passed, failed and skipped tests', () => {
    const report = parseReport(`<testsuites><testsuite name="a">
      <testcase name="one" file="a.test.ts" />
      <testcase name="two &gt; 1" file="a.test.ts">
        <failure type="AssertionError" />
      </testcase>
      <testcase name="${skippedName('three', 'needs &quot;root&quot;')}" file="a.test.ts">
        <skipped />
      </testcase>
    </testsuite></testsuites>`)
    expect(report).toEqual({
      passedCount: 1,
      failedCount: 1,
      skipped: [{ name: 'three', file: 'a.test.ts', reason: 'needs "root"' }],
    })
  })

  test('leaves the reason empty when the name has none', () => {
    const [skipped] = parseReport('<testcase name="bare"><skipped/></testcase>').skipped
    expect(skipped?.reason).toBe('')
  })

  test('ignores a test whose element is incomplete', () => {
    expect(parseReport('<testcase name="cut"><fail').passedCount).toBe(0)
  })
})
