/** A thread of {@link BlockGzip}: it is sent blocks, and sends back each as a gzip member. */
import { gzipMember } from './gzip-member.ts'

declare const self: Worker

self.onmessage = ({ data }: MessageEvent<Uint8Array>) => {
  const member = gzipMember(data)
  self.postMessage(member, [member.buffer as ArrayBuffer])
}
