const DISK_FULL: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'SQLITE_FULL']

/** Whether an error, or what it was caused by, is that the disk is full: of a write here, of a step of berth-init, or of SQLite. */
export function isDiskFull(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { code, errno } = each as { readonly code?: unknown; readonly errno?: unknown }
    if (DISK_FULL.includes(code) || DISK_FULL.includes(errno)) return true
  }
  return false
}
