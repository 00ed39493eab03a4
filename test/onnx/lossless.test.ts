import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cloneModel } from '../../src/ir/clone.ts'
import { DTYPES } from '../../src/ir/dtype.ts'
import { verify } from '../../src/ir/verify.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { seenByCodec, seenByOnnxProto } from './independent.ts'
import {
  type Bytes,
  concat,
  floatInfo,
  functionNode,
  group,
  int,
  message,
  model,
  modelOf,
  node,
  text,
  word32,
  word64,
} from './wire.ts'

/** Reads, touches, writes. */
function rewritten(bytes: Bytes): Uint8Array {
  const parsed = parseModel(bytes)
  verify(parsed)
  parsed.graph.touch()
  return serializeModel(parsed)
}

/** The IR models none of it: after a change elsewhere the same fields are there, in the order of their numbers. */
function expectKept(bytes: Bytes): void {
  const written = rewritten(bytes)
  expect(seenByCodec(written)).toEqual(seenByCodec(bytes))
  expect(Buffer.from(written).toString('hex')).toBe(Buffer.from(bytes).toString('hex'))
  expect(Buffer.compare(serializeModel(cloneTouched(bytes)), written)).toBe(0)
}

function cloneTouched(bytes: Bytes): ReturnType<typeof parseModel> {
  const copy = cloneModel(parseModel(bytes))
  copy.graph.touch()
  return copy
}

const props = (field: number): Bytes => message(field, text(1, 'key'), text(2, 'värde'))
const relu = node('Relu', ['x'], ['y'])
const io = [floatInfo(11, 'x', 'n'), floatInfo(12, 'y', 'n')]

describe('what the IR does not model', () => {
  it('survives in every message: unknown fields of every wire type', () => {
    const strange = concat(
      int(900, 2n ** 63n),
      word32(901, 0x7f800001),
      word64(902, 2n ** 64n - 1n),
      message(903, int(1, 1)),
    )
    const nested = concat(strange, group(904, int(1, 5), group(2)))
    const attribute = message(5, text(1, 'a'), int(3, 7), int(20, 2), nested)
    const initializer = message(5, int(1, 1), int(2, 1), text(8, 'w'), message(9, new Uint8Array(4)), nested)
    const info = message(13, text(1, 'h'), message(2, message(1, int(1, 1), nested), nested), nested)
    const inner = [node('Op', ['x', 'w'], ['h'], attribute, nested), node('Relu', ['h'], ['y'])]
    const bytes = modelOf(
      [message(25, text(1, 'f'), text(10, 'd'), nested), nested],
      ...inner,
      initializer,
      ...io,
      info,
      nested,
    )
    expectKept(bytes)
  })

  it('survives where the schema says presence: explicit zeros and empty texts', () => {
    const attribute = message(5, text(1, 'a'), word32(2, 0), int(3, 0), text(13, ''), int(20, 2))
    const named = message(
      1,
      text(1, 'x'),
      text(2, 'y'),
      text(3, ''),
      text(4, 'Relu'),
      attribute,
      text(6, ''),
      text(7, ''),
      text(8, ''),
    )
    const bytes = modelOf([], named, text(2, ''), text(10, ''), ...io)
    expectKept(concat(int(1, 10), text(2, ''), text(3, ''), int(5, 0), text(6, ''), bytes.slice(2)))
  })

  it('survives: documentation, metadata and denotations, also in bytes that are no text', () => {
    const latin1 = message(6, Uint8Array.of(0xe4, 0xff))
    const dim = message(1, int(1, 3), text(3, 'CHANNEL'))
    const typed = message(2, message(1, int(1, 1), message(2, dim)), text(6, 'IMAGE'))
    const input = message(11, text(1, 'x'), typed, text(3, 'doc'), props(4))
    const bytes = model(
      node('Relu', ['x'], ['y'], latin1, props(9)),
      text(10, 'doc'),
      input,
      floatInfo(12, 'y', 'n'),
      props(16),
    )
    expectKept(bytes)
  })

  it('survives: functions with all their fields', () => {
    const body = functionNode('Add', ['a', 'a'], ['b'], message(5, text(1, 'alpha'), int(20, 1), text(21, 'alpha')))
    const defaults = message(11, text(1, 'beta'), word32(2, 0x3f800000), int(20, 1))
    const opsets = concat(message(9, text(1, 'ai.onnx'), int(2, 20)), message(9, text(1, 'other'), int(2, 1)))
    const head = concat(
      text(1, 'F'),
      text(4, 'a'),
      text(5, 'b'),
      text(6, 'alpha'),
      body,
      text(8, 'doc'),
      opsets,
      text(10, 'my'),
      defaults,
    )
    const called = message(25, head, message(12, text(1, 'b')), text(13, 'o1'), props(14))
    const call = node('F', ['x'], ['y'], text(7, 'my'), text(8, 'o1'))
    const bytes = modelOf([called], call, ...io)
    expect(parseModel(bytes).functions[0]?.attributes).toEqual(['alpha'])
    expectKept(bytes)
  })

  it('survives: bodies of control flow that read outer values, sibling bodies with the same names', () => {
    const branch = (op: string): Bytes => concat(node(op, ['x'], ['r']), text(2, op), floatInfo(12, 'r', 'n'))
    const attribute = (name: string, op: string): Bytes => message(5, text(1, name), message(6, branch(op)), int(20, 5))
    const choice = node('If', ['c'], ['y'], attribute('else_branch', 'Neg'), attribute('then_branch', 'Relu'))
    const bytes = model(choice, message(11, text(1, 'c')), ...io)
    const [first] = parseModel(bytes).graph.nodes
    expect(first?.subgraphs.map((body) => body.nodes[0]?.inputs[0]?.name)).toEqual(['x', 'x'])
    expectKept(bytes)
  })

  it('survives: sparse initializers, sparse attributes, types as attributes', () => {
    const values = message(1, int(1, 1), int(2, 1), text(8, 's'), message(9, new Uint8Array(4)))
    const sparse = concat(
      values,
      message(2, int(1, 1), int(2, 7), text(8, 'i'), message(9, new Uint8Array(8))),
      int(3, 9),
    )
    const attributes = concat(
      message(5, text(1, 'type'), message(14, message(4, message(1, message(1, int(1, 1))))), int(20, 13)),
      message(5, text(1, 'sparse'), int(20, 11), message(22, sparse)),
    )
    const bytes = model(node('Op', ['x', 's'], ['y'], attributes), ...io, message(15, sparse))
    expectKept(bytes)
  })

  it('survives: training, device configuration, opset order with both names of ai.onnx', () => {
    const opsets = concat(message(8, text(1, 'com.microsoft'), int(2, 1)), message(8, text(1, 'ai.onnx'), int(2, 20)))
    const shard = message(2, text(1, 'x'), int(2, 0), message(4, int(1, 0)))
    const placed = node('Relu', ['x'], ['y'], message(10, text(1, 'c'), shard, int(3, 1)))
    const weights = message(1, message(5, int(1, 1), int(2, 1), text(8, 't'), message(9, Uint8Array.of(1, 2, 3, 4))))
    const training = message(20, weights, message(3, text(1, 'a'), text(2, 'b')))
    const bytes = concat(
      int(1, 13),
      message(7, placed, ...io),
      opsets,
      props(14),
      training,
      message(26, text(1, 'c'), int(2, 2)),
    )
    expect(parseModel(bytes).opset).toBe(20)
    expectKept(bytes)
  })

  it('survives: float attributes that are NaNs with a payload', () => {
    const floats = concat(
      message(5, text(1, 'f'), word32(2, 0x7fa00001), int(20, 1)),
      message(5, text(1, 'g'), word32(7, 0xffc12345), int(20, 6)),
    )
    expectKept(model(node('Op', ['x'], ['y'], floats), ...io))
  })

  it('survives: value_info of names that no value has, and of the old form for bodies of functions', () => {
    expectKept(model(relu, ...io, message(13, text(1, 'd/F/b'), message(2, message(1, int(1, 1))))))
  })
})

describe('tensors', () => {
  const types = Object.entries(DTYPES).filter(([name]) => name !== 'undefined' && name !== 'string')

  it.each(types)('of type %s survive as raw bytes, NaNs and all', (_, dataType) => {
    const raw = Uint8Array.from({ length: 16 }, (_, i) => 255 - i)
    expectKept(model(relu, message(5, int(1, 1), int(2, dataType), text(8, 'w'), message(9, raw)), ...io))
  })

  it('of types that no version has yet survive', () => {
    expectKept(model(relu, message(5, int(1, 1), int(2, 77), text(8, 'w'), message(9, Uint8Array.of(1))), ...io))
  })

  it('of strings survive, also where they are no text', () => {
    const strings = concat(text(6, 'a'), message(6, Uint8Array.of(0xff, 0)), text(6, ''))
    expectKept(model(relu, message(5, int(1, 3), int(2, 8), strings, text(8, 'w')), ...io))
  })

  it('without elements survive, with and without the empty field', () => {
    expectKept(model(relu, message(5, int(1, 0), int(2, 1), text(8, 'w')), ...io))
    expectKept(model(relu, message(5, int(1, 0), int(2, 1), text(8, 'w'), message(9)), ...io))
  })

  const signalling = Uint8Array.of(1, 0, 0xa0, 0x7f)
  const negative = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
  it.each([
    ['float_data', 1, 4, signalling],
    ['int32_data', 6, 5, negative],
    ['int64_data', 7, 7, negative],
    ['double_data', 11, 10, Uint8Array.of(1, 0, 0, 0, 0, 0, 0xf0, 0x7f)],
    ['uint64_data', 13, 11, negative],
  ])('in %s survive bit by bit', (_, dataType, field, payload) => {
    const tensor = message(5, int(1, 1), int(2, dataType), text(8, 'w'), message(field, payload))
    const written = rewritten(model(relu, tensor, ...io))
    expect(seenByCodec(written)).toEqual(seenByCodec(model(relu, tensor, ...io)))
    expect(Buffer.from(written).includes(Buffer.from(payload))).toBe(true)
    const large = message(
      5,
      int(1, 600),
      int(2, dataType),
      message(field, concat(...Array(600).fill(payload))),
      text(8, 'w'),
    )
    expect(seenByCodec(rewritten(model(relu, large, ...io)))).toEqual(seenByCodec(model(relu, large, ...io)))
  })

  it('in unpacked fields, and in several packed ones, are read as one', () => {
    const parts = [int(7, 5), int(7, -1), message(7, Uint8Array.of(3, 4)), int(7, 9)]
    const bytes = model(relu, message(5, int(1, 5), int(2, 7), ...parts, text(8, 'w')), ...io)
    const tensor = seenByOnnxProto(rewritten(bytes))
    expect(tensor).toMatchObject({ graph: { initializer: [{ int64Data: ['5', '-1', '3', '4', '9'] }] } })
    const floats = model(
      relu,
      message(5, int(1, 2), int(2, 1), word32(4, 0x3f800000), word32(4, 0x7fa00001), text(8, 'w')),
      ...io,
    )
    expect(Buffer.from(rewritten(floats)).includes(Buffer.from([0, 0, 0x80, 0x3f, 1, 0, 0xa0, 0x7f]))).toBe(true)
  })

  it('of any size and place keep their bytes (property)', () => {
    const tensor = fc.record({ size: fc.integer({ min: 0, max: 5000 }), seed: fc.nat(255), inNode: fc.boolean() })
    fc.assert(
      fc.property(fc.array(tensor, { maxLength: 6 }), (tensors) => {
        const raw = (size: number, seed: number): Bytes => Uint8Array.from({ length: size }, (_, i) => (i * seed) % 256)
        const protos = tensors.map(({ size, seed }, i) =>
          concat(int(1, size), int(2, 2), text(8, `t${i}`), message(9, raw(size, seed))),
        )
        const nodes = protos.flatMap((proto, i) =>
          tensors[i]?.inNode
            ? [node('Constant', [], [`c${i}`], message(5, text(1, 'value'), message(5, proto), int(20, 4)))]
            : [],
        )
        const stored = protos.flatMap((proto, i) => (tensors[i]?.inNode ? [] : [message(5, proto)]))
        expectKept(model(relu, ...nodes, ...stored, ...io))
      }),
      { numRuns: 60 },
    )
  })
})
