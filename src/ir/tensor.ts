import type { DType } from './dtype.ts'

/**
 * A place that bytes can be read from on demand: a file, or bytes in memory.
 * Reads are synchronous, so that analyses can look at a constant without becoming asynchronous themselves.
 */
export interface ByteSource {
  /** Named in errors. */
  readonly name: string
  readonly size: number
  /** Exactly `length` bytes from `offset`. @throws VitpassError when the range is not inside the source. */
  read(offset: number, length: number): Uint8Array
}

/** The value fields of `TensorProto` that are not `raw_data`; their payload is kept as packed protobuf bytes. */
export type TypedField = 'float_data' | 'int32_data' | 'int64_data' | 'double_data' | 'uint64_data'

/** Where a tensor's elements are. Storage is immutable: a changed tensor is a new tensor. */
export type TensorStorage =
  /** Little-endian `raw_data` in memory. */
  | { readonly kind: 'raw'; readonly bytes: Uint8Array }
  /** `raw_data` left where it is in the file that the model was read from. */
  | { readonly kind: 'range'; readonly source: ByteSource; readonly offset: number; readonly length: number }
  /** External data. `source` is null where the model was parsed from bytes without its files. */
  | {
      readonly kind: 'external'
      readonly location: string
      readonly offset: number
      readonly length: number
      readonly source: ByteSource | null
    }
  /** Packed payload of a typed value field: varints for int32, int64 and uint64, little-endian words for the others. */
  | { readonly kind: 'typed'; readonly field: TypedField; readonly bytes: Uint8Array }
  | { readonly kind: 'strings'; readonly values: readonly Uint8Array[] }

export interface Tensor {
  /** `TensorProto.name`; an initializer's name is that of its value. */
  readonly name: string
  readonly dtype: DType
  readonly dims: readonly number[]
  readonly storage: TensorStorage
  /** What the reader found and the IR does not model; the writer puts it back. */
  readonly passthrough?: unknown
}

export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1)
}
