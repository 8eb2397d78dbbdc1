/** The documents of images: their bytes as text, and what holds for all of them. */
import { BerthError } from '../lib/error.ts'
import { duplicateName } from '../lib/json-duplicate.ts'
import { parseJson, type Shape } from '../lib/json-shape.ts'

/** No document of a registry or a layout is larger; registries themselves accept no larger manifests. */
export const DOCUMENT_LIMIT_BYTES = 4 * 1024 * 1024

/**
 * Parses a document that is named by the digest of its bytes, so that it must mean the same to all who read it.
 * @throws {BerthError} invalidArgument: too large, no UTF-8, no JSON, of another shape, or with a name twice
 */
export function parseDocument<T>(document: string | Uint8Array, name: string, shape: Shape<T>): T {
  if (document.length > DOCUMENT_LIMIT_BYTES) {
    throw new BerthError(
      'invalidArgument',
      `Cannot parse ${name}: it has ${document.length} bytes, expected at most ${DOCUMENT_LIMIT_BYTES}`,
    )
  }
  const text = typeof document === 'string' ? document : decodeDocument(document, name)
  const { value } = parseJson(text, name, shape)
  const twice = duplicateName(text)
  if (twice === null) return value
  throw new BerthError('invalidArgument', `Cannot parse ${name}: it has ${JSON.stringify(twice.slice(0, 80))} twice`)
}

/** The text of a document. A byte order mark stays, which JSON does not allow. @throws {BerthError} invalidArgument: no UTF-8 */
export function decodeDocument(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new BerthError('invalidArgument', `Cannot read ${name}: it is not UTF-8`, { cause })
  }
}
