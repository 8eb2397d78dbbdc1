import { describeSnapshotDriver } from './snapshot-suite.ts'

describeSnapshotDriver({ driver: 'erofs', filesystem: 'ext4' })
