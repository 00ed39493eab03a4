import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DType, FloatType } from '../../src/ir/dtype.ts'
import { fromBfloat16Bits, fromFloat16Bits, toBfloat16Bits, toFloat16Bits } from '../../src/ir/float-bits.ts'
import type { Tensor, TensorStorage } from '../../src/ir/tensor.ts'
import {
  boolTensor,
  floatTensor,
  type IntDType,
  int64Tensor,
  intTensor,
  rawBytes,
  readFloats,
  readInts,
} from '../../src/ir/tensor-data.ts'

const named = (tensor: Omit<Tensor, 'name'>): Tensor => ({ ...tensor, name: 't' })
const stored = (dtype: DType, dims: readonly number[], storage: TensorStorage): Tensor => ({
  name: 't',
  dtype,
  dims,
  storage,
})
const typed = (
  dtype: DType,
  count: number,
  field: 'int32_data' | 'int64_data' | 'uint64_data',
  bytes: readonly number[],
): Tensor => stored(dtype, [count], { kind: 'typed', field, bytes: Uint8Array.from(bytes) })
/** -1 as protobuf writes it. */
const MINUS_ONE = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]

describe('halves', () => {
  it.each([
    [0, 0],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [Number.POSITIVE_INFINITY, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [2 ** -25 * 1.0001, 0x0001],
    [3 * 2 ** -25, 0x0002],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    // Through float32 this would be rounded twice, and end below.
    [1 + 2 ** -11 + 2 ** -40, 0x3c01],
    [2047.9999, 0x6800],
    [Number.MIN_VALUE, 0],
    [Number.MAX_VALUE, 0x7c00],
  ])('%d is %i', (value, bits) => {
    expect(toFloat16Bits(value)).toBe(bits)
  })

  it('of every bit pattern come back as they were, NaNs as a NaN', () => {
    for (let bits = 0; bits < 65536; bits += 1) {
      const value = fromFloat16Bits(bits)
      if (Number.isNaN(value)) expect(toFloat16Bits(value)).toBe(0x7e00)
      else expect(toFloat16Bits(value)).toBe(bits)
    }
  })

  it('are the nearest there are (property)', () => {
    fc.assert(
      fc.property(fc.double({ min: -65504, max: 65504, noNaN: true }), (value) => {
        const bits = toFloat16Bits(value)
        const error = Math.abs(fromFloat16Bits(bits) - value)
        for (const near of [bits - 1, bits + 1]) {
          const other = fromFloat16Bits(near & 0xffff)
          if (Number.isFinite(other)) expect(Math.abs(other - value)).toBeGreaterThanOrEqual(error)
        }
      }),
    )
  })
})

describe('bfloat16', () => {
  it.each([
    [1, 0x3f80],
    [-0, 0x8000],
    [1 + 2 ** -8, 0x3f80],
    [1 + 3 * 2 ** -8, 0x3f82],
    [1 + 2 ** -8 + 2 ** -40, 0x3f81],
    [3.4e38, 0x7f80],
    [3.38e38, 0x7f7e],
    [2 ** -133, 0x0001],
    [2 ** -134, 0x0000],
    [Number.NaN, 0x7fc0],
  ])('%d is %i', (value, bits) => {
    expect(toBfloat16Bits(value)).toBe(bits)
  })

  it('of every bit pattern come back as they were, NaNs as a NaN', () => {
    for (let bits = 0; bits < 65536; bits += 1) {
      const value = fromBfloat16Bits(bits)
      if (Number.isNaN(value)) expect(toBfloat16Bits(value)).toBe(0x7fc0)
      else expect(toBfloat16Bits(value)).toBe(bits)
    }
  })
})

describe('floats', () => {
  it.each<FloatType>(['float', 'double', 'float16', 'bfloat16'])('of type %s are what they were made of', (dtype) => {
    const data = [0, -1.5, 0.25, Number.POSITIVE_INFINITY, Number.NaN, 256]
    const tensor = named(floatTensor([2, 3], data, dtype))
    expect([...readFloats(tensor)]).toEqual(data)
    expect(readFloats(tensor)).toBeInstanceOf(dtype === 'double' ? Float64Array : Float32Array)
  })

  it('are a copy: the tensor does not change with them', () => {
    const tensor = named(floatTensor([1], [1]))
    readFloats(tensor)[0] = 2
    expect(readFloats(tensor)[0]).toBe(1)
  })

  it('are read from typed fields, from ranges, and from bytes at odd places', () => {
    const bytes = Uint8Array.of(9, 0, 0, 128, 63)
    const source = { name: 's', size: 5, read: (from: number, length: number) => bytes.subarray(from, from + length) }
    expect([...readFloats(stored('float', [1], { kind: 'range', source, offset: 1, length: 4 }))]).toEqual([1])
    expect([...readFloats(stored('float', [1], { kind: 'raw', bytes: bytes.subarray(1) }))]).toEqual([1])
    expect([
      ...readFloats(stored('float', [1], { kind: 'typed', field: 'float_data', bytes: bytes.subarray(1) })),
    ]).toEqual([1])
    expect([...readFloats(typed('float16', 2, 'int32_data', [0x80, 0x78, 0x80, 0xf8, 0x02]))]).toEqual([1, -1])
  })

  it('are refused where they are none, do not fit, or are not at hand', () => {
    expect(() => readFloats(named(int64Tensor([1], [1])))).toThrow('floats are needed')
    expect(() => readFloats(stored('float', [2], { kind: 'raw', bytes: new Uint8Array(7) }))).toThrow(
      '7 bytes of data instead of 8',
    )
    expect(() => floatTensor([2], [1])).toThrow('[2] cannot be made of 1')
    const external = { kind: 'external', location: 'a.data', offset: 0, length: 4, source: null } as const
    expect(() => readFloats(stored('float', [1], external))).toThrow('a.data')
    expect(() => rawBytes(stored('string', [1], { kind: 'strings', values: [] }))).toThrow('no raw bytes')
  })
})

describe('integers', () => {
  it.each<[IntDType, readonly number[]]>([
    ['int8', [-128, 127, 0]],
    ['uint8', [0, 200, 255]],
    ['int16', [-32768, 32767, 5]],
    ['uint16', [0, 65535, 5]],
    ['int32', [-(2 ** 31), 2 ** 31 - 1, 5]],
    ['uint32', [0, 2 ** 32 - 1, 5]],
    ['int64', [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, -1]],
    ['uint64', [0, Number.MAX_SAFE_INTEGER, 1]],
  ])('of type %s are what they were made of', (dtype, data) => {
    expect(readInts(named(intTensor(dtype, [3], data)))).toEqual(data)
    expect(() => intTensor(dtype, [1], [0.5])).toThrow('does not fit')
    expect(() => intTensor(dtype, [1], [2n ** 64n])).toThrow('does not fit')
  })

  it('say "to the end" and come back', () => {
    const ends = named(int64Tensor([2], [2n ** 63n - 1n, -(2n ** 63n)]))
    expect(readInts(ends)).toEqual([2 ** 63, -(2 ** 63)])
    expect(rawBytes(named(int64Tensor([2], readInts(ends))))).toEqual(rawBytes(ends))
  })

  it('that no number can hold are refused', () => {
    expect(() => readInts(named(int64Tensor([1], [2n ** 53n])))).toThrow('9007199254740992')
    expect(() => readInts(named(intTensor('uint64', [1], [2n ** 64n - 1n])))).toThrow('beyond 2^53')
  })

  it('are read from typed fields', () => {
    expect(readInts(typed('int64', 2, 'int64_data', [5, ...MINUS_ONE]))).toEqual([5, -1])
    expect(readInts(typed('int32', 1, 'int32_data', MINUS_ONE))).toEqual([-1])
    expect(readInts(typed('int8', 1, 'int32_data', MINUS_ONE))).toEqual([-1])
    expect(readInts(typed('uint16', 1, 'int32_data', [0xff, 0xff, 3]))).toEqual([65535])
    expect(readInts(typed('uint32', 1, 'uint64_data', [0xff, 0xff, 0xff, 0xff, 15]))).toEqual([2 ** 32 - 1])
    expect(readInts(typed('bool', 2, 'int32_data', [0, 1]))).toEqual([0, 1])
    expect(readInts(typed('int4', 3, 'int32_data', [0xf1, 0x01, 0x08]))).toEqual([1, -1, -8])
    expect(() => readInts(typed('int64', 1, 'int64_data', [0x80]))).toThrow('cut off')
    expect(() => readInts(typed('int64', 1, 'int64_data', Array(11).fill(0xff)))).toThrow('cut off')
  })

  it('of a few bits are unpacked from the low ones on', () => {
    expect(readInts(stored('uint4', [3], { kind: 'raw', bytes: Uint8Array.of(0x21, 0x0f) }))).toEqual([1, 2, 15])
    expect(readInts(stored('int2', [5], { kind: 'raw', bytes: Uint8Array.of(0b11100100, 1) }))).toEqual([
      0, 1, -2, -1, 1,
    ])
  })

  it('and booleans', () => {
    expect(readInts(named(boolTensor([3], [true, false, 2])))).toEqual([1, 0, 1])
    expect(() => readInts(named(floatTensor([1], [1])))).toThrow('integers are needed')
  })
})
