import type { ModelFunction } from '../ir/model.ts'
import type { TensorStorage } from '../ir/tensor.ts'
import type { ValueType } from '../ir/value.ts'
import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  ShardingSpecProto,
  SparseTensorProto,
  TensorAnnotation,
  TensorProto,
  ValueInfoProto,
} from './generated/messages.ts'

/*
 * What stands in the `passthrough` fields of the IR: the message that the reader found, less what the IR models, and what is
 * needed to tell whether a modelled part still is as it was read. A copied graph shares these with the original: values are therefore known
 * here by their origins.
 */

export class TensorOrigin {
  readonly proto: TensorProto
  /** The storage as read. */
  readonly storage: TensorStorage
  /** False where the file has no value field of numbers, and `storage` is an empty one. */
  readonly hasPayload: boolean

  constructor(proto: TensorProto, storage: TensorStorage) {
    this.proto = proto
    this.storage = storage
    this.hasPayload = proto.payload !== undefined
  }
}

export class AttributeOrigin {
  readonly proto: AttributeProto

  constructor(proto: AttributeProto) {
    this.proto = proto
  }
}

export class NodeOrigin {
  readonly proto: NodeProto
  /** Values that device configurations name. */
  readonly sharded: ReadonlyMap<ShardingSpecProto, ValueOrigin>

  constructor(proto: NodeProto, sharded: ReadonlyMap<ShardingSpecProto, ValueOrigin>) {
    this.proto = proto
    this.sharded = sharded
  }
}

export class ValueOrigin {
  /** As an input or in `value_info`. */
  info: ValueInfoProto | null = null
  /** As an output. */
  output: ValueInfoProto | null = null
  /** The IR type made of the declared one: while the value has this very object, the declared one stands. */
  type: ValueType | null = null
  sparse: SparseTensorProto | null = null
}

export class AnnotationOrigin {
  readonly proto: TensorAnnotation
  readonly value: ValueOrigin
  /** Values that the entries of `quant_parameter_tensor_names` name, in order; null for a name that no value has. */
  readonly parameters: readonly (ValueOrigin | null)[]

  constructor(proto: TensorAnnotation, value: ValueOrigin, parameters: readonly (ValueOrigin | null)[]) {
    this.proto = proto
    this.value = value
    this.parameters = parameters
  }
}

/** Of a graph or of a function's body. */
export class BodyOrigin<Proto extends GraphProto | FunctionProto = GraphProto | FunctionProto> {
  readonly proto: Proto
  /** Values of `value_info` in file order, and entries for names that no value has. */
  readonly described: readonly (ValueOrigin | ValueInfoProto)[]
  readonly annotations: readonly (AnnotationOrigin | TensorAnnotation)[]

  constructor(
    proto: Proto,
    described: readonly (ValueOrigin | ValueInfoProto)[],
    annotations: readonly (AnnotationOrigin | TensorAnnotation)[],
  ) {
    this.proto = proto
    this.described = described
    this.annotations = annotations
  }
}

export class GraphOrigin extends BodyOrigin<GraphProto> {}

export class FunctionOrigin extends BodyOrigin<FunctionProto> {
  /** Makes the class another than GraphOrigin, for the type checker too. */
  readonly kind = 'function'
}

export class ModelOrigin {
  readonly proto: ModelProto
  readonly functions: readonly ModelFunction[]

  constructor(proto: ModelProto, functions: readonly ModelFunction[]) {
    this.proto = proto
    this.functions = functions
  }
}

/** A copy of a message with some fields set anew; a field set to undefined is left out. Unknown fields stay. */
export function derive<T extends { $unknowns?: Uint8Array[] }>(proto: T | undefined, changes: Partial<T>): T {
  const copy = { ...proto, ...changes } as T // the fields of T, all optional
  if (proto?.$unknowns !== undefined) copy.$unknowns = proto.$unknowns
  return copy
}

/** A text field as it is to be written: the file's way of saying '' (absent or empty) is kept. */
export function text(value: string, before: string | undefined): string | undefined {
  return value === '' ? (before === '' ? '' : undefined) : value
}
