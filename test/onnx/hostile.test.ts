import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { fixtureBytes, fixturePaths } from './independent.ts'
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
  varint,
  word64,
} from './wire.ts'

const io = [floatInfo(11, 'x', 'n'), floatInfo(12, 'y', 'n')]
const relu = node('Relu', ['x'], ['y'])
const raw = (...parts: readonly Bytes[]): Bytes => message(5, text(8, 'w'), int(2, 1), ...parts)

/** The code of the error that reading raises; anything else that is thrown fails the test. */
function codeOf(bytes: Uint8Array): string | null {
  try {
    const parsed = parseModel(bytes)
    parsed.graph.touch()
    serializeModel(parsed)
    return null
  } catch (error) {
    if (!(error instanceof VitpassError)) throw error
    expect(error.where).toBe('model')
    expect(error.remedy).toBeTruthy()
    expect(error.line()).not.toContain('\n')
    return error.code
  }
}

describe('what is no model', () => {
  const latin1 = (value: string): Bytes => Uint8Array.from(Buffer.from(value, 'latin1'))
  it.each([
    ['empty', new Uint8Array(0), 'empty'],
    ['text', latin1('not a model at all\n'), 'text'],
    ['JSON', latin1('{"a": 1}'), 'JSON'],
    ['a page', latin1('<!DOCTYPE html><html>'), 'text'],
    ['a checkpoint', latin1('PK\x03\x04rest of it'), 'ZIP'],
    ['a pickle', latin1('\x80\x02}q\x00.'), 'pickle'],
    ['HDF5', latin1('\x89HDF\r\n\x1a\n'), 'HDF5'],
    ['safetensors', concat(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0), latin1('{}')), 'safetensors'],
    ['a pointer', latin1('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'), 'git lfs pull'],
    ['ORT format', latin1('\x10\x00\x00\x00ORTM'), 'ORT format'],
    ['zeros', new Uint8Array(100), 'does not start as ONNX'],
    ['a message without a graph', concat(int(1, 10), message(8, int(2, 20))), 'no graph'],
  ])('is told apart: %s', (_, bytes, word) => {
    expect(() => parseModel(bytes)).toThrow(word)
    expect(codeOf(bytes)).toBe('NOT_ONNX')
  })
})

describe('what is a broken model', () => {
  it('a file cut anywhere is truncated, or invalid where the cut falls between two parts', () => {
    const bytes = fixtureBytes(fixturePaths[0] ?? '')
    for (let length = 40; length < bytes.length; length += 977) {
      expect(codeOf(bytes.subarray(0, length))).toBe('MODEL_TRUNCATED')
    }
  })

  const deep = (levels: number): Bytes => {
    let graph = concat(relu, ...io)
    for (let i = 0; i < levels; i += 1) {
      graph = concat(
        node('If', [], [`y${i}`], message(5, text(1, 'then_branch'), message(6, graph), int(20, 5))),
        floatInfo(12, `y${i}`),
      )
    }
    return concat(int(1, 10), message(7, graph), message(8, int(2, 20)))
  }
  const nestedType = (levels: number): Bytes => {
    let type = message(1, int(1, 1))
    for (let i = 0; i < levels; i += 1) type = message(4, message(1, type))
    return message(13, text(1, 'h'), message(2, type))
  }
  const groups = (levels: number): Bytes => {
    let inner: Bytes = new Uint8Array(0)
    for (let i = 0; i < levels; i += 1) inner = group(900, inner)
    return inner
  }

  it.each<[string, Bytes, string]>([
    [
      'a length beyond its message',
      concat(int(1, 10), message(7, Uint8Array.of(0x0a, 100, 1)), message(6, new Uint8Array(200))),
      'beyond its message',
    ],
    [
      'an integer without end',
      concat(int(1, 10), message(7, Uint8Array.of(0x18, ...Array(12).fill(0xff)))),
      'more than ten bytes',
    ],
    ['field number 0', concat(int(1, 10), message(7, Uint8Array.of(2, 0))), 'number 0'],
    ['wire type 7', concat(int(1, 10), message(7, Uint8Array.of(15, 0))), 'wire type 7'],
    ['a group that does not end', concat(int(1, 10), message(7, Uint8Array.of(0x1b))), 'no end'],
    ['a group that has not begun', concat(int(1, 10), message(7, Uint8Array.of(0x1c))), 'wire type 4'],
    ['groups, very deep', model(relu, ...io, groups(200)), 'too deeply'],
    ['bodies, very deep', deep(60), 'too deeply'],
    ['types, very deep', model(relu, ...io, nestedType(80)), 'malformed'],
    ['a name that is no text', model(message(1, message(2, Uint8Array.of(0xff)), text(4, 'Op')), ...io), 'UTF-8'],
    [
      'two value fields',
      model(relu, ...io, raw(int(1, 1), message(9, new Uint8Array(4)), message(4, new Uint8Array(4)))),
      'both',
    ],
    ['the number of the inner field', model(relu, ...io, raw(word64(19999, 0n))), '19999'],
    ['a negative dim', model(relu, ...io, raw(int(1, -1))), 'dim of -1'],
    ['impossible dims', model(relu, ...io, raw(...Array(5).fill(int(1, 2 ** 40)))), 'impossible dims'],
    ['a value that nothing makes', model(node('Relu', ['z'], ['y']), ...io), 'reads z'],
    ['an output that nothing makes', model(...io), 'output y'],
    ['a value with two makers', model(relu, relu, ...io), 'two values are named y'],
    ['a circle', model(node('Add', ['x', 'y'], ['h']), node('Neg', ['h'], ['y']), ...io), 'circle'],
    ['a node that reads itself', model(node('Add', ['x', 'y'], ['y']), ...io), 'own output'],
    ['an attribute twice', model(node('Op', ['x'], ['y'], ...Array(2).fill(message(5, text(1, 'a')))), ...io), 'twice'],
    [
      'a tensor attribute without one',
      model(node('Op', ['x'], ['y'], message(5, text(1, 'a'), int(20, 4))), ...io),
      'has none',
    ],
  ])('%s', (_, bytes, word) => {
    expect(() => parseModel(bytes)).toThrow(word)
    expect(codeOf(bytes)).toBe('MODEL_INVALID')
  })

  it('functions that call themselves, or each other very deeply', () => {
    const calling = (name: string, callee: string): Bytes =>
      message(
        25,
        text(1, name),
        text(4, 'a'),
        text(5, 'b'),
        functionNode(callee, ['a'], ['b'], text(7, 'my')),
        text(10, 'my'),
      )
    const main = [node('f0', ['x'], ['y'], text(7, 'my')), ...io]
    expect(codeOf(modelOf([calling('f0', 'f1'), calling('f1', 'f0')], ...main))).toBe('MODEL_INVALID')
    const chain = Array.from({ length: 500 }, (_, i) => calling(`f${i}`, `f${i + 1}`))
    expect(codeOf(modelOf(chain, ...main))).toBe('MODEL_UNSUPPORTED')
    expect(codeOf(modelOf(chain.toReversed(), ...main))).toBe('MODEL_UNSUPPORTED')
    expect(codeOf(modelOf(chain.slice(-30), ...main))).toBeNull()
  })

  it('a length that says more than the file has is not allocated', () => {
    const bytes = concat(int(1, 10), Uint8Array.of(0x3a), varint(2 ** 40), new Uint8Array(10))
    expect(codeOf(bytes)).toBe('MODEL_TRUNCATED')
  })

  it('random damage never raises anything else (property)', () => {
    const small = modelOf(
      [message(25, text(1, 'F'), text(4, 'a'), text(5, 'b'), functionNode('Relu', ['a'], ['b']), text(10, 'my'))],
      node('F', ['x'], ['h'], text(7, 'my')),
      node(
        'Mul',
        ['h', 'w'],
        ['y'],
        message(5, text(1, 'a'), message(5, int(1, 2), int(2, 7), message(7, Uint8Array.of(1, 2))), int(20, 4)),
      ),
      raw(int(1, 1), message(9, new Uint8Array(4))),
      ...io,
    )
    const change = fc.record({ at: fc.nat(small.length - 1), byte: fc.nat(255) })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(small.length), (changes, cut) => {
        const damaged = small.slice()
        for (const { at, byte } of changes) damaged[at] = byte
        codeOf(damaged)
        codeOf(damaged.subarray(0, cut))
      }),
      { numRuns: 3000 },
    )
  })

  it('random bytes never raise anything else (property)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(codeOf(concat(int(1, 10), bytes))).not.toBeNull()
      }),
    )
  })
})
