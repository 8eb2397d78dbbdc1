import { type CgroupSetting, invalid, setting } from './setting.ts'

/**
 * The files of the core, not of a controller, that a configuration may write. The others move or kill processes or
 * change what the cgroup is (`cgroup.procs`, `cgroup.kill`, `cgroup.type`, `cgroup.subtree_control`, …).
 */
const CORE_FILES: ReadonlySet<string> = new Set(['cgroup.max.depth', 'cgroup.max.descendants', 'cgroup.pressure'])

/**
 * `linux.resources.unified`: file names of cgroup v2 and what to write into them. A value of several lines is written
 * line by line, because io.max and its like take one device per write(2).
 * @throws {BerthError} invalidArgument: a name that is no `<controller>.<file>`, or one that is not a limit
 * Source: runtime-spec › Control groups › Unified.
 */
export function unifiedSettings(unified: Readonly<Record<string, string>>): readonly CgroupSetting[] {
  return Object.entries(unified).flatMap(([file, value]) => {
    const controller = /^([a-z][a-z_]*)\.[A-Za-z0-9_.]+$/.exec(file)?.[1]
    if (controller === undefined || file.includes('..')) {
      throw invalid('unified', file, 'not a file name of cgroup v2, expected controller.file')
    }
    if (controller === 'cgroup' && !CORE_FILES.has(file)) {
      throw invalid('unified', file, 'not a limit, expected a file of a controller')
    }
    const lines = value.split('\n').filter(line => line.trim() !== '')
    return (lines.length === 0 ? [''] : lines).map(line =>
      setting(controller, file, line, 'as the configuration says (unified)'),
    )
  })
}
