import { list, object, text } from '../lib/json-shape.ts'
import { printRepository, type Reference } from '../oci/reference.ts'
import type { EndpointConnection } from './endpoint-connection.ts'
import { pagesOf } from './pages.ts'

/** What is asked for at once; registries may give less. */
const PAGE_SIZE = 1000

const page = object<{ readonly name?: string; readonly tags?: readonly string[] }>({ name: text, tags: list(text) })

/** The tags of a repository; what is no tag by the grammar is left out. Source: distribution-spec › Listing Tags. */
export async function* listTags(
  connection: EndpointConnection,
  reference: Reference,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  const { path } = reference
  const question = {
    action: `list tags of "${printRepository(reference)}"`,
    target: `/${path}/tags/list?n=${PAGE_SIZE}`,
    grant: { repository: path, scopes: [`repository:${path}:pull`] },
  }
  for await (const { page: found } of pagesOf(connection, question, page, signal)) {
    // A stranger's text goes to a terminal and into references.
    yield* (found.tags ?? []).filter(tag => /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(tag))
  }
}
