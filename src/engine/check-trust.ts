import type { TrustCheck } from '../image/pull-image.ts'

/** Takes every image whose digests are right. */
export const checkTrust: TrustCheck = () => Promise.resolve()
