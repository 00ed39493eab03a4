import { VitpassError } from '../errors.ts'
import { type DType, dtypeBits, dtypeName } from '../ir/dtype.ts'
import { type ByteSource, elementCount, type Tensor, type TensorStorage } from '../ir/tensor.ts'
import type { DeclaredDim, ValueType } from '../ir/value.ts'
import type { TensorProto, TypeProto } from './generated/messages.ts'
import { TensorOrigin } from './origin.ts'

/** Opens the external data file of that location, after checking that it may be opened. Null where there are no files. */
export type OpenExternal = ((location: string, tensor: string) => ByteSource) | null

const EXTERNAL = 1
const NO_BYTES = new Uint8Array(0)

/** @throws VitpassError MODEL_INVALID for impossible dims, EXTERNAL_DATA for a reference that cannot be followed */
export function parseTensor(proto: TensorProto, open: OpenExternal): Tensor {
  const name = proto.name ?? ''
  const dtype = dtypeName(proto.dataType ?? 0) ?? 'undefined'
  const dims = (proto.dims ?? []).map((dim) => parseDim(dim, name))
  if (!Number.isSafeInteger(elementCount(dims))) {
    throw new VitpassError('MODEL_INVALID', `tensor ${name} has impossible dims [${dims.join(', ')}]`)
  }
  const storage = parseStorage(proto, name, dtype, dims, open)
  const origin = new TensorOrigin(proto, storage)
  proto.dims = undefined
  proto.payload = undefined
  proto.stringData = undefined
  return { name, dtype, dims, storage, passthrough: origin }
}

function parseDim(dim: bigint, tensor: string): number {
  const size = Number(dim)
  if (size >= 0 && Number.isSafeInteger(size)) return size
  throw new VitpassError('MODEL_INVALID', `tensor ${tensor} has a dim of ${dim}`)
}

function parseStorage(
  proto: TensorProto,
  name: string,
  dtype: DType,
  dims: readonly number[],
  open: OpenExternal,
): TensorStorage {
  if (proto.dataLocation === EXTERNAL) return parseExternal(proto, name, dtype, dims, open)
  if (proto.stringData !== undefined && proto.stringData.length > 0) {
    if (proto.payload !== undefined && proto.payload.kind !== 'raw') {
      throw new VitpassError('MODEL_INVALID', `tensor ${name} has strings and numbers`)
    }
    return { kind: 'strings', values: proto.stringData }
  }
  if (proto.payload !== undefined) return proto.payload
  return dtype === 'string' ? { kind: 'strings', values: [] } : { kind: 'raw', bytes: NO_BYTES }
}

function parseExternal(
  proto: TensorProto,
  name: string,
  dtype: DType,
  dims: readonly number[],
  open: OpenExternal,
): TensorStorage {
  const broken = (what: string): VitpassError =>
    new VitpassError('EXTERNAL_DATA', `the external data of tensor ${name} ${what}`, {
      remedy: 'export the model again, or save it with its weights inside',
    })
  if (proto.payload !== undefined || (proto.stringData ?? []).length > 0)
    throw broken('stands beside data in the model itself')
  const entries = new Map<string, string>()
  for (const { key = '', value = '' } of proto.externalData ?? []) {
    if (entries.has(key)) throw broken(`gives ${key} twice`)
    entries.set(key, value)
  }
  const location = entries.get('location') ?? ''
  if (location === '') throw broken('names no file')
  const bits = dtypeBits(dtype)
  if (bits === undefined) throw broken(`is of type ${dtype}, which cannot be external`)
  const expected = Math.ceil((elementCount(dims) * bits) / 8)
  const number = (key: string, fallback: number): number => {
    const given = entries.get(key)
    if (given === undefined) return fallback
    const parsed = /^\d{1,16}$/.test(given) ? Number(given) : Number.NaN
    if (Number.isSafeInteger(parsed)) return parsed
    throw broken(`has a ${key} of "${given.slice(0, 40)}"`)
  }
  const offset = number('offset', 0)
  const length = number('length', expected)
  if (length !== expected) throw broken(`has ${length} bytes, where [${dims.join(', ')}] of ${dtype} needs ${expected}`)
  const source = open?.(location, name) ?? null
  if (source !== null && offset + length > source.size) {
    throw broken(`reaches to byte ${offset + length} of ${location}, which has ${source.size}`)
  }
  return { kind: 'external', location, offset, length, source }
}

/** Parts of a model that are only carried cannot have their data moved to another file. @throws VitpassError MODEL_UNSUPPORTED */
export function refuseExternal(carried: object, what: string): void {
  for (const [key, value] of Object.entries(carried)) {
    if (key === 'dataLocation' && value === EXTERNAL) {
      throw new VitpassError('MODEL_UNSUPPORTED', `${what} has external data`, {
        remedy: 'save the model with its weights inside',
      })
    }
    if (key !== 'payload' && typeof value === 'object' && value !== null && !ArrayBuffer.isView(value))
      refuseExternal(value, what)
  }
}

/** The IR's view of a declared type. */
export function parseType(proto: TypeProto): ValueType {
  const tensor = proto.tensorType
  const dtype = dtypeName(tensor?.elemType ?? 0)
  if (tensor === undefined || dtype === undefined) return { kind: 'other' }
  const dims = tensor.shape === undefined ? null : (tensor.shape.dim ?? [])
  return {
    kind: 'tensor',
    dtype,
    dims:
      dims?.map((dim): DeclaredDim => {
        if (dim.dimValue !== undefined) return Number(dim.dimValue)
        return dim.dimParam === undefined || dim.dimParam === '' ? null : dim.dimParam
      }) ?? null,
  }
}
