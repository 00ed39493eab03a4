import type { ByteSource, TensorStorage, TypedField } from '../ir/tensor.ts'

/** The elements of a tensor that one value field of `TensorProto` holds, strings aside. */
export type Payload = Extract<TensorStorage, { readonly kind: 'raw' | 'range' | 'typed' }>

export const RAW_DATA = 9
const TYPED_FIELDS: ReadonlyMap<number, { readonly field: TypedField; readonly element: number }> = new Map([
  [4, { field: 'float_data', element: 5 }],
  [5, { field: 'int32_data', element: 0 }],
  [7, { field: 'int64_data', element: 0 }],
  [10, { field: 'double_data', element: 1 }],
  [11, { field: 'uint64_data', element: 0 }],
])
const NUMBERS = new Map([...TYPED_FIELDS].map(([number, { field }]) => [field, number]))

/** The typed value field of that number and the wire type of an unpacked element. */
export function typedField(number: number): { readonly field: TypedField; readonly element: number } | undefined {
  return TYPED_FIELDS.get(number)
}

export function payloadField(payload: Payload): number {
  return payload.kind === 'typed' ? (NUMBERS.get(payload.field) ?? RAW_DATA) : RAW_DATA
}

/** Where a payload's bytes can be streamed from: memory, or a part of a source. */
export type Piece = Uint8Array | { readonly source: ByteSource; readonly offset: number; readonly length: number }

export function payloadPiece(payload: Payload): Piece {
  if (payload.kind === 'range') return payload
  if (payload instanceof LazyTyped) return payload.piece
  return payload.bytes
}

/** A large typed value field left in its file: the bytes are read when someone asks for them. */
export class LazyTyped {
  readonly kind = 'typed'
  readonly field: TypedField
  readonly piece: { readonly source: ByteSource; readonly offset: number; readonly length: number }

  constructor(field: TypedField, source: ByteSource, offset: number, length: number) {
    this.field = field
    this.piece = { source, offset, length }
  }

  get bytes(): Uint8Array {
    return this.piece.source.read(this.piece.offset, this.piece.length)
  }
}
