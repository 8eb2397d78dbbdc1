/**
 * Fetches a blob whose descriptor has a URL: `foreign-url-client.ts REGISTRIES-DIR REGISTRY DIGEST SIZE URL`. A process of its own,
 * because only at its start can it be told (NODE_EXTRA_CA_CERTS) to trust the authority of that URL's server as one of the system's.
 */

import { parseDigest } from '../../src/oci/digest.ts'
import { OCI_LAYER } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { ProxyRules } from '../../src/registry/proxy-rules.ts'
import { RegistryClient } from '../../src/registry/registry-client.ts'
import { RegistryHosts } from '../../src/registry/registry-hosts.ts'
import { password, sha256 } from '../support/registry-client.ts'

const [directory = '', registry = '', digest = '', size = '', url = ''] = process.argv.slice(2)

using client = new RegistryClient({
  hosts: new RegistryHosts([directory]),
  // Everybody's, the other place's too: none may be used there.
  credentials: { find: () => Promise.resolve(password('alice', 'correct horse battery')) },
  proxies: new ProxyRules({}),
  warn: message => console.error(message),
})
const layer = { mediaType: OCI_LAYER, digest: parseDigest(digest), sizeBytes: Number(size), urls: [url] }
const pieces = await Array.fromAsync(client.openBlob(parseReference(`${registry}/app`), layer)).catch(
  (error: Error) => {
    console.log(error.message)
    return null
  },
)
if (pieces !== null) console.log(sha256(Buffer.concat(pieces)))
