import type { DType } from './dtype.ts'
import type { Node } from './node.ts'
import type { Tensor } from './tensor.ts'

/** A dimension as the file declares it: a number, a name (`batch`, `s99`), or null where nothing is said. */
export type DeclaredDim = number | string | null

export type ValueType =
  | { readonly kind: 'tensor'; readonly dtype: DType; readonly dims: readonly DeclaredDim[] | null }
  /** Sequences, maps, optionals, sparse tensors: carried, not understood. */
  | { readonly kind: 'other' }

/**
 * An SSA value: a graph input, an initializer, or the output of one node. Identity is the object; the name is only
 * how the file spells it. `producer`, `tensor` and `consumers` are kept by Graph and Node.
 */
export class Value {
  name: string
  type: ValueType | null = null
  /** What the reader found of its `ValueInfoProto` and the IR does not model; null when the file declares no type. */
  passthrough: unknown = null
  producer: Node | null = null
  /** Its constant, when it is an initializer. */
  tensor: Tensor | null = null
  /** Nodes that read it, in this graph or in a subgraph; a node stands once for each input slot that reads it. */
  readonly consumers: Node[] = []

  constructor(name: string) {
    this.name = name
  }

  /** Distinct nodes that read it. */
  get users(): Node[] {
    return [...new Set(this.consumers)]
  }

  get dtype(): DType | undefined {
    if (this.tensor !== null) return this.tensor.dtype
    return this.type?.kind === 'tensor' ? this.type.dtype : undefined
  }

  get declaredDims(): readonly DeclaredDim[] | null {
    if (this.tensor !== null) return this.tensor.dims
    return this.type?.kind === 'tensor' ? this.type.dims : null
  }
}
