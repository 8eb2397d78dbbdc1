import { describe, expect, test } from 'bun:test'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ByteWriter } from '../snapshot/block-gzip.ts'
import { outputFile } from './output-file.ts'

const never = new AbortController().signal

async function hello(write: ByteWriter): Promise<void> {
  await write(Buffer.from('hel'))
  await write(Buffer.from('lo'))
}

async function broken(write: ByteWriter): Promise<void> {
  await write(Buffer.from('hel'))
  throw new Error('broken')
}

async function within(check: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-output-'))
  try {
    await check(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

describe('outputFile()', () => {
  test('replaces a file, and what a link leads to', () =>
    within(async directory => {
      writeFileSync(join(directory, 'file'), 'before')
      symlinkSync('file', join(directory, 'link'))
      await outputFile(join(directory, 'link'), hello, never)
      expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('hello')
      expect(readdirSync(directory)).toEqual(['file', 'link'])
    }))

  test('leaves what was there when what is to be written fails', () =>
    within(async directory => {
      writeFileSync(join(directory, 'file'), 'before')
      await expect(outputFile(join(directory, 'file'), broken, never)).rejects.toThrow('broken')
      await expect(outputFile(join(directory, 'other'), broken, never)).rejects.toThrow('broken')
      expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('before')
      expect(readdirSync(directory)).toEqual(['file'])
    }))

  test('says what is wrong with the place', () =>
    within(async directory => {
      mkdirSync(join(directory, 'dir'))
      symlinkSync('nothing', join(directory, 'link'))
      const said = async (name: string, what: string): Promise<void> => {
        await expect(outputFile(join(directory, name), hello, never)).rejects.toThrow(`${name}": ${what}`)
      }
      await said('dir', 'it is a directory')
      await said('absent/file', 'its directory does not exist')
      await said('link', 'what it links to does not exist')
    }))

  test('says that the disk is full', async () => {
    if (!existsSync('/dev/full')) throw new Error('Linux has /dev/full')
    await expect(outputFile('/dev/full', hello, never)).rejects.toThrow(
      'Cannot write to "/dev/full": no space is left on the device',
    )
  })
})
