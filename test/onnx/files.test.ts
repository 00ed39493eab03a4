import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as ort from 'onnxruntime-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor, rawBytes, readFloats } from '../../src/ir/tensor-data.ts'
import { readModel, writeModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { fixtureBytes, fixturePaths, seenByCodec } from './independent.ts'
import { type Bytes, concat, floatInfo, int, message, model, node, text, varint } from './wire.ts'

const EXTERNAL = fixturePaths.find((path) => path.endsWith('-external.onnx')) ?? ''
const INSIDE = fixturePaths.find((path) => path.endsWith('vit-p8-g16/ts17-sdpa-interp.onnx')) ?? ''

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vitpass-files-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})
const at = (name: string): string => join(folder, name)
const put = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(at(name), bytes)
  return at(name)
}

async function failure(action: Promise<unknown>): Promise<VitpassError> {
  const error = await action.then(
    () => new Error('nothing failed'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof VitpassError)) throw error
  expect(error.remedy).toBeTruthy()
  return error
}

describe('reading', () => {
  it('leaves large weights in the file and finds them there', async () => {
    const read = await readModel(INSIDE)
    const whole = parseModel(fixtureBytes(INSIDE))
    const kinds = read.graph.initializers.map((value) => value.tensor?.storage.kind)
    expect(kinds).toContain('range')
    for (const [i, value] of read.graph.initializers.entries()) {
      const other = whole.graph.initializers[i]?.tensor
      if (value.tensor?.dtype === 'float' && other) expect(readFloats(value.tensor)).toEqual(readFloats(other))
    }
  })

  it('says what is wrong with a path', async () => {
    expect((await failure(readModel(at('none.onnx')))).code).toBe('FILE_NOT_FOUND')
    expect((await failure(readModel(join(put('file', 'x'), 'inner.onnx')))).code).toBe('FILE_NOT_FOUND')
    expect((await failure(readModel(folder))).code).toBe('FILE_UNREADABLE')
    const pipe = at('pipe')
    execFileSync('mkfifo', [pipe])
    expect((await failure(readModel(pipe))).code).toBe('FILE_UNREADABLE')
    const other = await failure(readModel(put('weights.onnx', '{"not": "onnx"}')))
    expect([other.code, other.where]).toEqual(['NOT_ONNX', at('weights.onnx')])
    const cut = put('cut.onnx', fixtureBytes(INSIDE).subarray(0, 100_000))
    expect((await failure(readModel(cut))).code).toBe('MODEL_TRUNCATED')
  })

  it.skipIf(process.getuid?.() === 0)('says when it is not permitted', async () => {
    const path = put('closed.onnx', 'x')
    chmodSync(path, 0)
    expect((await failure(readModel(path))).code).toBe('FILE_UNREADABLE')
  })

  it('does not run out of open files', async () => {
    const path = put('a.onnx', externalModel([]))
    const held: Model[] = []
    for (let i = 0; i < 1500; i += 1) held.push(await readModel(path))
    expect(held.length).toBe(1500)
  })
})

describe('files beyond 4 GiB', () => {
  const size = 2 ** 32 + 4096
  const sparse = (path: string, parts: readonly (readonly [at: number, bytes: Uint8Array])[]): void => {
    const file = openSync(path, 'w')
    for (const [position, bytes] of parts) writeSync(file, bytes, 0, bytes.length, position)
    closeSync(file)
  }
  const one = Uint8Array.of(0, 0, 128, 63)

  it('give external data from any offset', async () => {
    sparse(at('w.bin'), [[size, one]])
    put('m.onnx', externalModel([reference('a', 'w.bin', { offset: String(size) })]))
    const read = await readModel(at('m.onnx'))
    const [tensor] = read.graph.initializers.map((value) => value.tensor)
    expect(tensor && [...readFloats(tensor)]).toEqual([1])
    await writeModel(read, at('out.onnx'))
    expect([...readFileSync(at('out.onnx.data'))]).toEqual([...one])
  })

  it('give weights from inside the model, which cannot be written changed', async () => {
    const head = concat(int(1, 1), int(2, 1), text(8, 'big'), Uint8Array.of(9 * 8 + 2), varint(size))
    const tensor = concat(Uint8Array.of(5 * 8 + 2), varint(head.length + size), head)
    const rest = concat(node('Relu', ['x'], ['y']), floatInfo(11, 'x', 'n'), floatInfo(12, 'y', 'n'))
    const start = concat(int(1, 10), Uint8Array.of(7 * 8 + 2), varint(tensor.length + size + rest.length), tensor)
    sparse(at('m.onnx'), [
      [0, start],
      [start.length + size, concat(rest, message(8, int(2, 20)))],
    ])
    const read = await readModel(at('m.onnx'))
    expect(read.graph.initializers[0]?.tensor?.storage).toMatchObject({
      kind: 'range',
      offset: start.length,
      length: size,
    })
    expect([read.opset, read.graph.nodes.length]).toEqual([20, 1])
    expect(() => serializeModel(read)).toThrow('2 GiB')
    read.graph.touch()
    expect((await failure(writeModel(read, at('out.onnx')))).code).toBe('MODEL_UNSUPPORTED')
    expect(existsSync(at('out.onnx'))).toBe(false)
  })
})

describe('writing', () => {
  it('an untouched model comes out byte for byte, a touched one with the same content', async () => {
    const read = await readModel(INSIDE)
    await writeModel(read, at('out.onnx'))
    expect(readFileSync(at('out.onnx')).equals(readFileSync(INSIDE))).toBe(true)
    read.setMetadata('a', 'b')
    const calls: [number, number][] = []
    await writeModel(read, at('out.onnx'), { durable: true, onProgress: (done, total) => calls.push([done, total]) })
    expect(readFileSync(at('out.onnx')).equals(serializeModel(read))).toBe(true)
    const size = statSync(at('out.onnx')).size
    expect(calls.at(-1)).toEqual([size, size])
    expect(readdirSync(folder)).toEqual(['out.onnx'])
  })

  it('a model larger than the buffers is streamed from the file that it was read from', async () => {
    const small = await readModel(INSIDE)
    const data = Float32Array.from({ length: 1_000_003 }, (_, i) => Math.sin(i))
    const weight = small.graph.addInitializer('weight', floatTensor([data.length], data))
    await writeModel(small, at('large.onnx'))
    const large = await readModel(at('large.onnx'))
    large.graph.touch()
    await writeModel(large, at('again.onnx'))
    expect(readFileSync(at('again.onnx')).equals(readFileSync(at('large.onnx')))).toBe(true)
    const again = await readModel(at('again.onnx'))
    const tensor = again.graph.initializers.find((value) => value.name === weight.name)?.tensor
    expect(tensor?.storage.kind).toBe('range')
    expect(Buffer.compare(Buffer.from(tensor ? rawBytes(tensor) : []), Buffer.from(data.buffer))).toBe(0)
  })

  it('never replaces the file that was read, unless told', async () => {
    copyFileSync(INSIDE, at('a.onnx'))
    symlinkSync(at('a.onnx'), at('alias.onnx'))
    const read = await readModel(at('a.onnx'))
    read.setMetadata('a', 'b')
    expect((await failure(writeModel(read, at('a.onnx')))).code).toBe('FILE_UNWRITABLE')
    expect((await failure(writeModel(read, at('alias.onnx')))).code).toBe('FILE_UNWRITABLE')
    expect(readFileSync(at('a.onnx')).equals(readFileSync(INSIDE))).toBe(true)
    await writeModel(read, at('a.onnx'), { overwrite: true })
    expect((await readModel(at('a.onnx'))).metadata.get('a')).toBe('b')
    expect(serializeModel(read).length).toBe(statSync(at('a.onnx')).size)
  })

  it('says what is wrong with the place, and leaves nothing there', async () => {
    const read = await readModel(INSIDE)
    mkdirSync(at('sub'))
    const places = [at('none/out.onnx'), at('sub'), join(put('plain', 'x'), 'out.onnx'), '/dev/full']
    for (const place of places) {
      const error = await failure(writeModel(read, place))
      expect([error.code, error.where]).toEqual(['FILE_UNWRITABLE', place])
    }
    expect(readdirSync(folder).sort()).toEqual(['plain', 'sub'])
    expect(statSync('/dev/full').isCharacterDevice()).toBe(true)
  })

  it('notices that the source was changed meanwhile, and leaves the old output', async () => {
    const large = await largeModel(2_000_000)
    put('out.onnx', 'old')
    truncateSync(at('large.onnx'), 1000)
    expect((await failure(writeModel(large, at('out.onnx')))).code).toBe('FILE_UNREADABLE')
    expect(readFileSync(at('out.onnx'), 'utf8')).toBe('old')
    expect(readdirSync(folder).sort()).toEqual(['large.onnx', 'out.onnx'])
  })

  it('leaves the old output and no temporary file when there is no room', async () => {
    await largeModel(2_000_000)
    put('out.onnx', 'old')
    const { output } = await runWriter(['bash', '-c', `trap '' XFSZ; ulimit -f 2000; exec "$@"`, '-'])
    expect(output).toContain('FILE_UNWRITABLE')
    expect(readFileSync(at('out.onnx'), 'utf8')).toBe('old')
    expect(readdirSync(folder).sort()).toEqual(['large.onnx', 'out.onnx'])
  })

  it('leaves the old output and no temporary file when interrupted', async () => {
    await largeModel(30_000_000)
    put('out.onnx', 'old')
    const { signal } = await runWriter([], 'SIGINT')
    expect(signal).toBe('SIGINT')
    expect(readFileSync(at('out.onnx'), 'utf8')).toBe('old')
    expect(readdirSync(folder).sort()).toEqual(['large.onnx', 'out.onnx'])
  })
})

/** Writes large.onnx, whose weight has that many elements, and reads it. */
async function largeModel(count: number): Promise<Model> {
  const small = await readModel(INSIDE)
  small.graph.addInitializer('weight', floatTensor([count], new Float32Array(count)))
  await writeModel(small, at('large.onnx'))
  return readModel(at('large.onnx'))
}

/** Copies large.onnx to out.onnx in a process of its own, which gets the signal in the middle of writing. */
function runWriter(
  prefix: readonly string[],
  signal?: NodeJS.Signals,
): Promise<{ readonly output: string; readonly signal: NodeJS.Signals | null }> {
  const door = fileURLToPath(new URL('../../src/onnx/node.ts', import.meta.url))
  const code = `
    import { readModel, writeModel } from ${JSON.stringify(door)}
    const model = await readModel(${JSON.stringify(at('large.onnx'))})
    let told = false
    const onProgress = () => { if (!told) console.log('writing'); told = true }
    await writeModel(model, ${JSON.stringify(at('out.onnx'))}, { onProgress }).catch((error) => console.log(error.code))`
  const [command = process.execPath, ...args] = [
    ...prefix,
    process.execPath,
    '--import',
    'tsx',
    '--input-type=module',
    '-e',
    code,
  ]
  const child = spawn(command, args, { cwd: fileURLToPath(new URL('../../', import.meta.url)) })
  let output = ''
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  child.stdout.on('data', (chunk) => {
    output += chunk
    if (signal !== undefined && output.includes('writing')) child.kill(signal)
  })
  return new Promise((resolve) => child.on('close', (_, received) => resolve({ output, signal: received })))
}

describe('external data', () => {
  it('is found, and comes out byte for byte under the same name', async () => {
    const read = await readModel(EXTERNAL)
    expect(read.graph.initializers.some((value) => value.tensor?.storage.kind === 'external')).toBe(true)
    await writeModel(read, at(basename(EXTERNAL)))
    expect(readFileSync(at(basename(EXTERNAL))).equals(readFileSync(EXTERNAL))).toBe(true)
    expect(readFileSync(at(`${basename(EXTERNAL)}.data`)).equals(readFileSync(`${EXTERNAL}.data`))).toBe(true)
  })

  it('stays external under another name, and runs the same', async () => {
    const read = await readModel(EXTERNAL)
    read.setMetadata('a', 'b')
    await writeModel(read, at('other.onnx'))
    expect(readdirSync(folder).sort()).toEqual(['other.onnx', 'other.onnx.data'])
    const again = await readModel(at('other.onnx'))
    for (const [i, value] of read.graph.initializers.entries()) {
      const tensor = again.graph.initializers[i]?.tensor
      if (value.tensor?.dtype === 'float' && tensor) expect(readFloats(tensor)).toEqual(readFloats(value.tensor))
    }
    expect(await answer(at('other.onnx'))).toEqual(await answer(EXTERNAL))
  })

  it('is never written over, even where the model is', async () => {
    copyFileSync(EXTERNAL, at('a.onnx'))
    copyFileSync(`${EXTERNAL}.data`, at(`${basename(EXTERNAL)}.data`))
    const read = await readModel(at('a.onnx'))
    read.setMetadata('a', 'b')
    await writeModel(read, at('a.onnx'), { overwrite: true })
    const next = await readModel(at('a.onnx'))
    next.setMetadata('a', 'c')
    await writeModel(next, at('a.onnx'), { overwrite: true })
    expect(readFileSync(at(`${basename(EXTERNAL)}.data`)).equals(readFileSync(`${EXTERNAL}.data`))).toBe(true)
    expect(readdirSync(folder).sort()).toEqual(['a.onnx', 'a.onnx.1.data', 'a.onnx.data', `${basename(EXTERNAL)}.data`])
    expect(await answer(at('a.onnx'))).toEqual(await answer(EXTERNAL))
  })

  it('is no place for the model', async () => {
    copyFileSync(EXTERNAL, at('a.onnx'))
    copyFileSync(`${EXTERNAL}.data`, at(`${basename(EXTERNAL)}.data`))
    const read = await readModel(at('a.onnx'))
    const data = at(`${basename(EXTERNAL)}.data`)
    expect((await failure(writeModel(read, data, { overwrite: true }))).code).toBe('FILE_UNWRITABLE')
    expect(readFileSync(data).equals(readFileSync(`${EXTERNAL}.data`))).toBe(true)
  })

  it('of a model from bytes keeps its references and cannot be read', () => {
    const parsed = parseModel(fixtureBytes(EXTERNAL))
    parsed.graph.touch()
    expect(seenByCodec(serializeModel(parsed))).toEqual(seenByCodec(fixtureBytes(EXTERNAL)))
  })

  it('that two tensors share is written once', async () => {
    put(
      'w.bin',
      Uint8Array.from({ length: 8 }, (_, i) => i),
    )
    put('m.onnx', externalModel([reference('a', 'w.bin', { offset: '4' }), reference('b', 'w.bin', { offset: '4' })]))
    await writeModel(await readModel(at('m.onnx')), at('out.onnx'))
    expect([...readFileSync(at('out.onnx.data'))]).toEqual([4, 5, 6, 7])
  })

  it('outside of the folder, behind links or of the wrong size is refused', async () => {
    mkdirSync(at('model'))
    mkdirSync(at('model/sub'))
    const secret = put('secret', new Uint8Array(4))
    symlinkSync(secret, at('model/link'))
    symlinkSync(folder, at('model/door'))
    linkSync(secret, at('model/second-name'))
    writeFileSync(at('model/ok'), new Uint8Array(4))
    const places = [
      '../secret',
      secret,
      'sub/../../secret',
      'link',
      'door/secret',
      'second-name',
      'sub',
      'none',
      '',
      '.',
      'C:\\w',
      'a\0b',
    ]
    for (const place of places) {
      writeFileSync(at('model/m.onnx'), externalModel([reference('a', place)]))
      expect([place, (await failure(readModel(at('model/m.onnx')))).code]).toEqual([place, 'EXTERNAL_DATA'])
    }
    const wrong = [
      { offset: '1' },
      { offset: '-1' },
      { offset: '1e3' },
      { offset: '99999999999999999999' },
      { length: '3' },
      { length: '' },
    ]
    for (const entries of wrong) {
      writeFileSync(at('model/m.onnx'), externalModel([reference('a', 'ok', entries)]))
      expect([entries, (await failure(readModel(at('model/m.onnx')))).code]).toEqual([entries, 'EXTERNAL_DATA'])
    }
    writeFileSync(
      at('model/m.onnx'),
      externalModel([reference('a', 'ok', { length: '4', offset: '0', checksum: 'x' })]),
    )
    expect((await readModel(at('model/m.onnx'))).graph.initializers.length).toBe(1)
  })

  it('that is too short is refused before anything is written', async () => {
    copyFileSync(EXTERNAL, at(basename(EXTERNAL)))
    put(`${basename(EXTERNAL)}.data`, new Uint8Array(10))
    expect((await failure(readModel(at(basename(EXTERNAL))))).code).toBe('EXTERNAL_DATA')
    expect(existsSync(at('out.onnx'))).toBe(false)
  })
})

/** An initializer of one float whose data is elsewhere. */
function reference(name: string, location: string, more: Readonly<Record<string, string>> = {}): Bytes {
  const entries = Object.entries({ location, ...more }).map(([key, value]) => message(13, text(1, key), text(2, value)))
  return message(5, int(1, 1), int(2, 1), text(8, name), concat(...entries), int(14, 1))
}

function externalModel(initializers: readonly Bytes[]): Bytes {
  return model(node('Relu', ['x'], ['y']), ...initializers, floatInfo(11, 'x', 'n'), floatInfo(12, 'y', 'n'))
}

async function answer(path: string): Promise<unknown> {
  const session = await ort.InferenceSession.create(path, { logSeverityLevel: 3 })
  const dims = [2, 3, 24, 32]
  const data = Float32Array.from({ length: 2 * 3 * 24 * 32 }, (_, i) => Math.sin(i))
  const found = await session.run({ [session.inputNames[0] ?? '']: new ort.Tensor('float32', data, dims) })
  return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, value.data]))
}
