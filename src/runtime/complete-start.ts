import type { FoundContainer } from './container-state.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** Runs the poststart hooks; when one fails the container is ended and removed. @throws {BerthError} internal: a hook failed */
export async function completeStart(found: FoundContainer, options: RuntimeOptions): Promise<void> {
  // Mostly there are none, and then what follows need not be loaded.
  if ((found.directory.spec().hooks?.poststart ?? []).length === 0) return
  const { runPoststartHooks } = await import('./run-hooks.ts')
  try {
    await runPoststartHooks(found)
  } catch (error) {
    const { deleteContainer } = await import('./delete.ts')
    await deleteContainer(found.record.id, { ...options, force: true })
    throw error
  }
}
