import { describeSnapshotDriver } from './snapshot-suite.ts'

describeSnapshotDriver({ driver: 'overlay', filesystem: 'ext4' })
