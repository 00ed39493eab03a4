import { type DType, dtypeName } from '../ir/dtype.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { allowedTypes, type OperatorSchema, schemaOf } from './schema.ts'

/** Nodes that are walked up at most; every operator with a weight ends the walk long before. */
const DEPTH = 500

/**
 * Finds element types through the operators' type variables. A declared type or a constant is believed; the output of
 * a node has the type of the inputs that share its variable.
 */
export class DTypes {
  private readonly opset: number
  private readonly told: (value: Value) => DType | undefined
  private readonly known = new WeakMap<Value, DType>()

  /** @param told asked for values that the graph says nothing of, for example an analysis */
  constructor(opset: number, told: (value: Value) => DType | undefined) {
    this.opset = opset
    this.told = told
  }

  /** The element type of a value; undefined where nothing tells. */
  of(value: Value): DType | undefined {
    return this.find(value, DEPTH)
  }

  private find(value: Value, depth: number): DType | undefined {
    const near = value.dtype ?? this.known.get(value) ?? this.told(value)
    if (near !== undefined || value.producer === null || depth === 0) return near
    const found = this.ofOutput(value.producer, value.producer.outputs.indexOf(value), depth)
    if (found !== undefined) this.known.set(value, found)
    return found
  }

  private ofOutput(node: Node, index: number, depth: number): DType | undefined {
    if (node.domain !== '') return undefined
    const schema = schemaOf(node.opType, this.opset)
    const formal = schema?.outputs[Math.min(index, schema.outputs.length - 1)]
    if (schema === null || formal === undefined) return undefined
    const fixed = fixedType(node)
    if (fixed !== undefined) return fixed
    const allowed = allowedTypes(schema, formal.type)
    if (allowed.size === 1) return allowed.values().next().value
    const sharing = inputsOfType(node, schema, formal.type)
    const near = sharing.find((input) => input.dtype !== undefined)
    if (near !== undefined) return near.dtype
    for (const input of sharing) {
      const found = this.find(input, depth - 1)
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** The output type of the operators whose attributes say it. */
function fixedType(node: Node): DType | undefined {
  switch (node.opType) {
    case 'Cast':
      return dtypeName(node.int('to', 0))
    case 'ConstantOfShape':
      return node.tensor('value')?.dtype ?? 'float'
    case 'Constant':
      if (node.attributes.has('value_float') || node.attributes.has('value_floats')) return 'float'
      if (node.attributes.has('value_int') || node.attributes.has('value_ints')) return 'int64'
      return node.tensor('value')?.dtype
    default:
      return undefined
  }
}

function inputsOfType(node: Node, schema: OperatorSchema, type: string): Value[] {
  return node.inputs.flatMap((input, index) => {
    const formal = schema.inputs[Math.min(index, schema.inputs.length - 1)]
    return input !== null && formal?.type === type ? [input] : []
  })
}
