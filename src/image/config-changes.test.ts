import { describe, expect, test } from 'bun:test'
import { applyChange, type ConfigDocument } from './config-changes.ts'

describe('applyChange()', () => {
  test.each<[line: string, before: ConfigDocument, after: ConfigDocument]>([
    ['CMD ["a", "b c"]', {}, { Cmd: ['a', 'b c'] }],
    ['cmd echo $HOME', {}, { Cmd: ['/bin/sh', '-c', 'echo $HOME'] }],
    ['CMD x', { Shell: ['bash', '-c'] }, { Shell: ['bash', '-c'], Cmd: ['bash', '-c', 'x'] }],
    ['ENTRYPOINT ["e"]', { Cmd: ['old'] }, { Entrypoint: ['e'] }],
    ['ENV A=1 B="two words" C=x\\ y', { Env: ['B=0', 'Z=z'] }, { Env: ['B=two words', 'Z=z', 'A=1', 'C=x y'] }],
    ['ENV A the rest', {}, { Env: ['A=the rest'] }],
    [
      'EXPOSE 80 53/udp 8000-8001',
      {},
      { ExposedPorts: { '80/tcp': {}, '53/udp': {}, '8000/tcp': {}, '8001/tcp': {} } },
    ],
    ['LABEL a=1 "b c"="d e"', { Labels: { z: '0' } }, { Labels: { z: '0', a: '1', 'b c': 'd e' } }],
    ['ONBUILD RUN make', { OnBuild: ['COPY . .'] }, { OnBuild: ['COPY . .', 'RUN make'] }],
    ['STOPSIGNAL SIGQUIT', {}, { StopSignal: 'SIGQUIT' }],
    ['USER 1000:7', {}, { User: '1000:7' }],
    ['VOLUME ["/a b", "/c"]', { Volumes: { '/x': {} } }, { Volumes: { '/x': {}, '/a b': {}, '/c': {} } }],
    ['WORKDIR sub', { WorkingDir: '/a/' }, { WorkingDir: '/a/sub' }],
    ['HEALTHCHECK NONE', {}, { Healthcheck: { Test: ['NONE'] } }],
    [
      'HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x',
      {},
      { Healthcheck: { Test: ['CMD-SHELL', 'curl -f x'], Interval: 90e9, Retries: 3 } },
    ],
    ['SHELL ["bash", "-c"]', {}, { Shell: ['bash', '-c'] }],
  ])('%s', (line, before, after) => {
    expect(applyChange({ Unknown: 1, ...before }, line)).toEqual({ Unknown: 1, ...after })
  })

  test.each([
    ['FROM x', 'it is none of CMD'],
    ['CMD', 'it says nothing'],
    ['ENV =x', 'is no NAME=VALUE'],
    ['ENV A="x', 'is not closed'],
    ['EXPOSE 0', 'is no port'],
    ['EXPOSE 2-1', 'is no port'],
    ['ONBUILD FROM x', 'cannot be a trigger'],
    ['STOPSIGNAL NONSENSE', 'is no signal'],
    ['USER a b', 'it takes one word'],
    ['HEALTHCHECK --x=1 CMD y', 'has no option'],
    ['HEALTHCHECK --interval=x CMD y', 'is no duration'],
    ['SHELL bash', 'takes a list in JSON'],
    ['LABEL a=1\nUSER root', 'line break'],
  ])('refuses %j', (line, why) => {
    expect(() => applyChange({}, line)).toThrow(why)
  })
})
