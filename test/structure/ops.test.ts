import { expect, test } from 'bun:test'
import { OPS, WIRE } from '../../src/plan/ops.ts'
import { filesBelow } from './source-files.ts'

test('native/ops.def and src/plan/ops.ts agree in number, name and signature of every step', () => {
  const text = filesBelow('native', 'ops.def')[0]?.text ?? ''
  const inC = [...text.matchAll(/^OP\((\d+), (\w+), "(\w*)"\)/gm)].map(([, code, name, signature]) => [
    Number(code),
    name,
    signature,
  ])
  const inTypeScript = Object.entries(OPS).map(([name, { code, args }]) => [
    code,
    name,
    Object.values(args)
      .map(kind => WIRE[kind])
      .join(''),
  ])
  expect(inC).toEqual(inTypeScript)
})

test('no two steps have the same number', () => {
  const codes = Object.values(OPS).map(({ code }) => code)
  expect(codes).toEqual([...new Set(codes)])
})
