/** Makes one root and ends: `snapshot-create.ts DRIVER DATA_ROOT DIRECTORY LOWER…`, to be killed on its way. */

import { parseDriverName } from '../../src/snapshot/driver-choice.ts'
import { openDriver } from '../../src/snapshot/open-driver.ts'

const [name = '', data = '', directory = '', ...lowers] = process.argv.slice(2)
const driver = await openDriver(data, { asked: parseDriverName(name), isRootless: false })
const ids = { start: 1_400_000, size: 65_536 }
process.stdout.write('begin\n')
await driver.create(directory, { lowers }, ids)
await driver.activate(directory, { lowers }, ids)
