import { BerthError, messageOf } from '../../lib/error.ts'

/**
 * The text of a clear-signed file (InRelease), when a key of the keyring has signed it. Keys are valid or not at the time of the signature:
 * snapshots of years ago stay verifiable. Weak digests are refused by the library.
 * @throws {BerthError} forbidden: no valid signature of a key of the keyring; invalidArgument: no signed file, or no keyring
 */
export async function verifySignedText(signed: string, keyring: Uint8Array, name: string): Promise<string> {
  const { readCleartextMessage, readKey, readKeys, verify } = await import('openpgp')
  const read = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (cause) {
      throw new BerthError('invalidArgument', `Cannot verify ${name}: ${what}: ${messageOf(cause)}`, { cause })
    }
  }
  const message = await read('it is no signed text', () => readCleartextMessage({ cleartextMessage: signed }))
  const isArmored = Buffer.from(keyring.subarray(0, 5)).toString('latin1') === '-----'
  const verificationKeys = await read('the keyring cannot be read', async () =>
    isArmored
      ? [await readKey({ armoredKey: Buffer.from(keyring).toString('utf8') })]
      : readKeys({ binaryKeys: keyring }),
  )
  const { data, signatures } = await verify({ message, verificationKeys })
  const reasons: string[] = []
  for (const { keyID, verified } of signatures) {
    try {
      await verified
      return data
    } catch (error) {
      reasons.push(`${keyID.toHex()}: ${messageOf(error)}`)
    }
  }
  const why = reasons.length === 0 ? 'it has none' : reasons.join('; ')
  throw new BerthError('forbidden', `Cannot verify ${name}: no valid signature of the archive's keyring (${why})`)
}
