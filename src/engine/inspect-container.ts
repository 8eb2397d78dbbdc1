import type { Value } from '../lib/template/value.ts'
import { findContainerRow, type ListedContainer } from './list-containers.ts'
import type { Engine } from './open-engine.ts'

/** What the engine knows of a container, in the places where the Engine API has it. */
export type InspectedContainer = Readonly<Record<string, Value>>

/** Describes a container by its name, id, or the beginning of its id. @throws {BerthError} notFound; invalidArgument: several */
export function inspectContainer(text: string, engine: Engine): InspectedContainer {
  return describe(findContainerRow(text, engine))
}

function describe(row: ListedContainer): InspectedContainer {
  const [path = '', ...args] = row.command
  const status = row.status === 'stopped' ? 'exited' : row.status
  return {
    Id: row.id,
    Created: row.created,
    Path: path,
    Args: args,
    State: {
      Status: status,
      Running: status === 'running' || status === 'paused',
      Paused: status === 'paused',
      ExitCode: row.exitCode ?? 0,
    },
    Image: row.image,
    Name: `/${row.name}`,
    HostConfig: { AutoRemove: row.autoRemove },
    Config: { Cmd: row.command, Image: row.image, Labels: new Map(Object.entries(row.labels)) },
  }
}
