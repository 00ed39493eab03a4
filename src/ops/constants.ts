import { VitpassError } from '../errors.ts'
import { type DType, type FloatType, isFloat, isInteger } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import { elementCount, type Tensor } from '../ir/tensor.ts'
import { boolTensor, floatTensor, type IntDType, intTensor, readInts } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'

/** A tensor that has no name yet. */
export type TensorData = Omit<Tensor, 'name'>

/** Elements up to which equal constants are looked for. */
const SHARED_ELEMENTS = 64

/** The small constants of a graph by content, so that equal ones are stored once. */
export class ConstantPool {
  private readonly graph: Graph
  private readonly byContent = new Map<string, Value>()

  constructor(graph: Graph) {
    this.graph = graph
    for (const value of graph.initializers) this.note(value)
  }

  /** The value of an equal constant that the graph has, else of a new initializer named after `base`. */
  take(tensor: TensorData, base: string): Value {
    const key = contentKey(tensor)
    if (key === null) return this.graph.addInitializer(base, tensor)
    const known = this.byContent.get(key)
    // Another pass may have removed or changed the constant since.
    if (known?.tensor != null && contentKey(known.tensor) === key && !this.graph.inputs.includes(known)) return known
    const made = this.graph.addInitializer(base, tensor)
    this.byContent.set(key, made)
    return made
  }

  private note(value: Value): void {
    if (value.tensor === null || this.graph.inputs.includes(value)) return
    const key = contentKey(value.tensor)
    if (key !== null && !this.byContent.has(key)) this.byContent.set(key, value)
  }
}

function contentKey({ dtype, dims, storage }: TensorData): string | null {
  if (storage.kind !== 'raw' || elementCount(dims) > SHARED_ELEMENTS) return null
  return `${dtype} ${dims.join(',')} ${storage.bytes.join(',')}`
}

/**
 * A tensor of numbers of any element type that the IR can write.
 * @throws VitpassError MODEL_UNSUPPORTED for strings, complex and small types; INTERNAL for a number that does not fit an integer type
 */
export function numberTensor(dtype: DType, dims: readonly number[], data: readonly number[]): TensorData {
  if (isFloat(dtype)) return floatTensor(dims, data, dtype as FloatType)
  if (isInteger(dtype)) return intTensor(dtype as IntDType, dims, data)
  if (dtype === 'bool') return boolTensor(dims, data)
  throw new VitpassError('MODEL_UNSUPPORTED', `a constant of type ${dtype} cannot be written`, {
    remedy: 'use a model in float32 or float16',
  })
}

/**
 * The integers of a constant: an initializer that no caller can override, or a Constant node.
 * @returns null where the value is computed or an input, or holds no integers
 */
export function constantInts(value: Value): number[] | null {
  const tensor = constantTensor(value)
  return tensor !== null && (isInteger(tensor.dtype) || tensor.dtype === 'bool') ? readInts(tensor) : null
}

/** The tensor of an initializer or a Constant node. A graph input's default is no constant: the graph is asked for its inputs. */
export function constantTensor(value: Value): Tensor | null {
  const node = value.producer
  if (node !== null) return node.is('Constant') ? (node.tensor('value') ?? null) : null
  const [user] = value.consumers
  return user?.graph?.root.inputs.includes(value) ? null : value.tensor
}
