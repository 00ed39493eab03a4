import { VitpassError } from '../errors.ts'
import { type DType, dtypeBits, type FloatType, isFloat } from './dtype.ts'
import { fromBfloat16Bits, fromFloat16Bits, toBfloat16Bits, toFloat16Bits } from './float-bits.ts'
import { elementCount, type Tensor, type TypedField } from './tensor.ts'
import { unpackVarints } from './varint.ts'

export type IntDType = 'int8' | 'int16' | 'int32' | 'int64' | 'uint8' | 'uint16' | 'uint32' | 'uint64'
type NewTensor = Omit<Tensor, 'name'>

const INT64_MAX = 2n ** 63n - 1n
const INT64_MIN = -(2n ** 63n)
/** Integer types of two and four bits, packed from the low bits of each byte on. */
const SUB_BYTE: Partial<Record<DType, { readonly bits: number; readonly signed: boolean }>> = {
  int4: { bits: 4, signed: true },
  uint4: { bits: 4, signed: false },
  int2: { bits: 2, signed: true },
  uint2: { bits: 2, signed: false },
}

function bytesOf(tensor: Tensor): Uint8Array {
  const { storage } = tensor
  switch (storage.kind) {
    case 'raw':
      return storage.bytes
    case 'range':
      return storage.source.read(storage.offset, storage.length)
    case 'external':
      if (storage.source !== null) return storage.source.read(storage.offset, storage.length)
      throw new VitpassError(
        'EXTERNAL_DATA',
        `the data of tensor ${tensor.name} is in ${storage.location}, which was not given`,
        {
          remedy: 'read the model from its path, so that the files beside it are found',
        },
      )
    case 'typed':
      return fromTyped(tensor, storage.field, storage.bytes)
    case 'strings':
      throw new VitpassError('MODEL_INVALID', `tensor ${tensor.name} holds strings, where numbers are needed`)
  }
}

/** `raw_data` layout of a typed value field. */
function fromTyped(tensor: Tensor, field: TypedField, bytes: Uint8Array): Uint8Array {
  if (field === 'float_data' || field === 'double_data') return bytes
  // A four- or two-bit type fills one byte of each int32.
  const width = Math.max(dtypeBits(tensor.dtype) ?? 0, 8) / 8
  const values = unpackVarints(bytes)
  const raw = new Uint8Array(values.length * width)
  const view = new DataView(raw.buffer)
  for (const [index, value] of values.entries()) {
    if (width === 8) view.setBigUint64(index * 8, value, true)
    else if (width === 4) view.setUint32(index * 4, Number(value & 0xffffffffn), true)
    else if (width === 2) view.setUint16(index * 2, Number(value & 0xffffn), true)
    else raw[index] = Number(value & 0xffn)
  }
  return raw
}

/**
 * The elements as `raw_data` has them: little-endian, row-major, types under eight bits packed. Read-only: it may be the tensor's own memory.
 * @throws VitpassError MODEL_INVALID where their size does not fit the dims, EXTERNAL_DATA where a file is not at hand
 */
export function rawBytes(tensor: Tensor): Uint8Array {
  const bits = dtypeBits(tensor.dtype)
  if (bits === undefined)
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      `tensor ${tensor.name} is of type ${tensor.dtype}, which has no raw bytes`,
    )
  const bytes = bytesOf(tensor)
  const expected = Math.ceil((elementCount(tensor.dims) * bits) / 8)
  if (bytes.length !== expected) {
    throw new VitpassError(
      'MODEL_INVALID',
      `tensor ${tensor.name} (${tensor.dtype} [${tensor.dims.join(', ')}]) has ${bytes.length} bytes of data instead of ${expected}`,
    )
  }
  return bytes
}

/** A copy whose buffer starts at the data, as typed arrays need it. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  const copy = new Uint8Array(bytes.length)
  copy.set(bytes)
  return copy.buffer
}

/**
 * The elements of a float, float16, bfloat16 or double tensor, row-major; doubles keep their precision. Always a fresh copy.
 * @throws VitpassError MODEL_UNSUPPORTED for another type, and as `rawBytes`
 */
export function readFloats(tensor: Tensor): Float32Array | Float64Array {
  if (!isFloat(tensor.dtype)) {
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      `tensor ${tensor.name} is of type ${tensor.dtype}, where floats are needed`,
    )
  }
  const buffer = aligned(rawBytes(tensor))
  if (tensor.dtype === 'float') return new Float32Array(buffer)
  if (tensor.dtype === 'double') return new Float64Array(buffer)
  return Float32Array.from(new Uint16Array(buffer), tensor.dtype === 'float16' ? fromFloat16Bits : fromBfloat16Bits)
}

/**
 * The elements of an integer or bool tensor (0 or 1), row-major. The largest int64, its negative and the smallest, which exporters
 * write for "to the end", come as the nearest number; any other integer beyond 2^53 is an error.
 * @throws VitpassError MODEL_UNSUPPORTED for another type or an integer that no number can hold, and as `rawBytes`
 */
export function readInts(tensor: Tensor): number[] {
  const sub = SUB_BYTE[tensor.dtype]
  if (sub !== undefined) return unpackSmall(rawBytes(tensor), elementCount(tensor.dims), sub.bits, sub.signed)
  switch (tensor.dtype) {
    case 'bool':
      return Array.from(rawBytes(tensor), (byte) => (byte === 0 ? 0 : 1))
    case 'uint8':
      return [...rawBytes(tensor)]
    case 'int8':
      return [...new Int8Array(aligned(rawBytes(tensor)))]
    case 'uint16':
      return [...new Uint16Array(aligned(rawBytes(tensor)))]
    case 'int16':
      return [...new Int16Array(aligned(rawBytes(tensor)))]
    case 'uint32':
      return [...new Uint32Array(aligned(rawBytes(tensor)))]
    case 'int32':
      return [...new Int32Array(aligned(rawBytes(tensor)))]
    case 'uint64':
      return Array.from(new BigUint64Array(aligned(rawBytes(tensor))), (value) => toNumber(tensor, value))
    case 'int64':
      return Array.from(new BigInt64Array(aligned(rawBytes(tensor))), (value) => toNumber(tensor, value))
    default:
      throw new VitpassError(
        'MODEL_UNSUPPORTED',
        `tensor ${tensor.name} is of type ${tensor.dtype}, where integers are needed`,
      )
  }
}

function toNumber(tensor: Tensor, value: bigint): number {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  if (tensor.dtype === 'int64' && (value === INT64_MAX || value === INT64_MIN || value === -INT64_MAX)) return number
  throw new VitpassError('MODEL_UNSUPPORTED', `tensor ${tensor.name} holds ${value}, which is beyond 2^53`)
}

function unpackSmall(bytes: Uint8Array, count: number, bits: number, signed: boolean): number[] {
  const perByte = 8 / bits
  const mask = (1 << bits) - 1
  const sign = signed ? 1 << (bits - 1) : 0
  return Array.from({ length: count }, (_, index) => {
    const value = ((bytes[Math.floor(index / perByte)] ?? 0) >> (bits * (index % perByte))) & mask
    return (value ^ sign) - sign
  })
}

function checkCount(dims: readonly number[], length: number): void {
  if (elementCount(dims) === length) return
  throw new VitpassError('INTERNAL', `a tensor of dims [${dims.join(', ')}] cannot be made of ${length} elements`)
}

function rawTensor(dtype: DType, dims: readonly number[], data: ArrayBufferView): NewTensor {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { dtype, dims: [...dims], storage: { kind: 'raw', bytes } }
}

/** A tensor of floats; every element is rounded once, to nearest, ties to even. */
export function floatTensor(dims: readonly number[], data: ArrayLike<number>, dtype: FloatType = 'float'): NewTensor {
  checkCount(dims, data.length)
  switch (dtype) {
    case 'float':
      return rawTensor(dtype, dims, Float32Array.from(data))
    case 'double':
      return rawTensor(dtype, dims, Float64Array.from(data))
    case 'float16':
      return rawTensor(dtype, dims, Uint16Array.from(data, toFloat16Bits))
    case 'bfloat16':
      return rawTensor(dtype, dims, Uint16Array.from(data, toBfloat16Bits))
  }
}

const INT_ARRAYS = {
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
} as const

const INT_WIDTHS: Readonly<Record<IntDType, readonly [min: bigint, max: bigint]>> = {
  int8: [-128n, 127n],
  int16: [-32768n, 32767n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  int64: [INT64_MIN, INT64_MAX],
  uint8: [0n, 255n],
  uint16: [0n, 65535n],
  uint32: [0n, 2n ** 32n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
}

/** A tensor of integers. @throws VitpassError INTERNAL for an element that is no integer or does not fit the type */
export function intTensor(dtype: IntDType, dims: readonly number[], data: readonly (number | bigint)[]): NewTensor {
  checkCount(dims, data.length)
  const [min, max] = INT_WIDTHS[dtype]
  const exact = data.map((value) => {
    const big = typeof value === 'bigint' || Number.isInteger(value) ? BigInt(value) : undefined
    // The number nearest to the largest int64 is one above it; `readInts` gives it out, so it is taken back.
    if (dtype === 'int64' && value === 2 ** 63) return INT64_MAX
    if (big === undefined || big < min || big > max)
      throw new VitpassError('INTERNAL', `${value} does not fit ${dtype}`)
    return big
  })
  if (dtype === 'int64') return rawTensor(dtype, dims, BigInt64Array.from(exact))
  if (dtype === 'uint64') return rawTensor(dtype, dims, BigUint64Array.from(exact))
  return rawTensor(dtype, dims, INT_ARRAYS[dtype].from(exact.map(Number)))
}

/** A tensor of int64, as shape inputs take it. */
export function int64Tensor(dims: readonly number[], data: readonly (number | bigint)[]): NewTensor {
  return intTensor('int64', dims, data)
}

export function boolTensor(dims: readonly number[], data: ArrayLike<boolean | number>): NewTensor {
  checkCount(dims, data.length)
  return rawTensor('bool', dims, Uint8Array.from(Array.from(data, (value) => (value ? 1 : 0))))
}
