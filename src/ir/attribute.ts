import type { Graph } from './graph.ts'
import type { Tensor } from './tensor.ts'

/** A node attribute. Integers are bigint because ONNX's are 64 bits wide; strings are bytes because ONNX's need not be UTF-8. */
export type AttributeValue =
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'int'; readonly value: bigint }
  | { readonly type: 'string'; readonly value: Uint8Array }
  | { readonly type: 'tensor'; readonly value: Tensor }
  | { readonly type: 'graph'; readonly value: Graph }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'ints'; readonly value: readonly bigint[] }
  | { readonly type: 'strings'; readonly value: readonly Uint8Array[] }
  | { readonly type: 'tensors'; readonly value: readonly Tensor[] }
  | { readonly type: 'graphs'; readonly value: readonly Graph[] }
  /** Sparse tensors, types, and references to a function's attribute: carried, not understood. */
  | { readonly type: 'opaque'; readonly value: unknown }

export type Attribute = AttributeValue & {
  /** What the reader found and the IR does not model; the writer puts it back. */
  readonly passthrough?: unknown
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const attr = {
  int: (value: number | bigint): Attribute => ({ type: 'int', value: BigInt(value) }),
  float: (value: number): Attribute => ({ type: 'float', value }),
  ints: (value: readonly (number | bigint)[]): Attribute => ({ type: 'ints', value: value.map(BigInt) }),
  floats: (value: readonly number[]): Attribute => ({ type: 'floats', value }),
  string: (value: string): Attribute => ({ type: 'string', value: encoder.encode(value) }),
  tensor: (value: Tensor): Attribute => ({ type: 'tensor', value }),
}

export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}
