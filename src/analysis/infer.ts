import { type Dim, int, sym } from '../ir/dim.ts'
import { isFloat, isInteger } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import { elementCount, type Tensor } from '../ir/tensor.ts'
import { readFloats, readInts } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'
import { CONTENTS_LIMIT, type Contents, contentsOf, decidedBranch, type Fact, Facts, type Placed } from './facts.ts'
import { computeRules } from './shapes/compute.ts'
import { Context, type ShapeRule } from './shapes/context.ts'
import { elementwiseRules } from './shapes/elementwise.ts'
import { layoutRules } from './shapes/layout.ts'
import { quantisedRules } from './shapes/quantised.ts'

const RULES: Readonly<Record<string, ShapeRule>> = {
  ...elementwiseRules,
  ...layoutRules,
  ...computeRules,
  ...quantisedRules,
}

/** Floats are followed only as the scalars and short vectors that shape arithmetic and masks use. */
const FLOAT_LIMIT = 64

/**
 * Symbolic shape and value inference: one walk over the graph that gives every value its axes as named sizes, and the
 * elements of shape tensors as expressions of those names.
 *
 * @param inputs axes of each graph input, named and with the size that they have in this trace
 * @param placed where a batch of one image stands in the results of Reshapes that leave a choice
 */
export function infer(
  graph: Graph,
  opset: number,
  inputs: ReadonlyMap<Value, readonly Dim[]>,
  placed: Placed = new Map(),
): Facts {
  const facts = new Facts(graph, placed)
  for (const value of graph.initializers) if (value.tensor !== null) facts.set(value, tensorFact(value.tensor))
  for (const [value, dims] of inputs) facts.set(value, { dims, dtype: value.dtype, contents: null })
  for (const node of graph.nodes) inferNode(node, facts, opset)
  return facts
}

/** Adds what new nodes make, and the constants that they read, to the facts. The nodes stand in order. */
export function learn(nodes: readonly Node[], facts: Facts, opset: number): void {
  for (const node of nodes) {
    for (const value of node.inputs) {
      if (value !== null && value.tensor !== null && facts.get(value) === undefined)
        facts.set(value, tensorFact(value.tensor))
    }
    inferNode(node, facts, opset)
  }
}

function inferNode(node: Node, facts: Facts, opset: number): void {
  if (node.is('Constant')) {
    const output = node.output(0)
    const fact = constantFact(node)
    if (output !== null && fact !== null) facts.set(output, fact)
    return
  }
  if (node.is('If')) return inferDecided(node, facts, opset)
  const rule = RULES[node.operator]
  const context = new Context(node, facts, opset)
  if (rule === undefined) for (const slot of node.outputs.keys()) context.set(slot, null)
  else rule(context)
}

/** An If whose condition is the same at every size: its branch says what its outputs are. */
function inferDecided(node: Node, facts: Facts, opset: number): void {
  const branch = decidedBranch(node, facts)
  if (branch !== null) {
    for (const value of branch.initializers) if (value.tensor !== null) facts.set(value, tensorFact(value.tensor))
    for (const inner of branch.nodes) inferNode(inner, facts, opset)
  }
  for (const [slot, output] of node.outputs.entries()) {
    const fact = facts.get(branch?.outputs[slot] ?? null)
    if (output !== null) facts.set(output, fact ?? { dims: null, dtype: undefined, contents: null })
  }
}

const TENSOR_FACTS = new WeakMap<Tensor, Fact>()

/** What an initializer is known to be. */
export function tensorFact(tensor: Tensor): Fact {
  const known = TENSOR_FACTS.get(tensor)
  if (known !== undefined) return known
  const fact = readFact(tensor)
  TENSOR_FACTS.set(tensor, fact)
  return fact
}

function readFact(tensor: Tensor): Fact {
  return { dtype: tensor.dtype, dims: tensor.dims.map(int), contents: tensorContents(tensor) }
}

function tensorContents(tensor: Tensor): Contents | null {
  const count = elementCount(tensor.dims)
  if (tensor.storage.kind === 'external' && tensor.storage.source === null) return null
  if (isInteger(tensor.dtype) || tensor.dtype === 'bool') {
    return count > CONTENTS_LIMIT ? null : contentsOf(readInts(tensor).map(int))
  }
  return isFloat(tensor.dtype) && count <= FLOAT_LIMIT ? contentsOf([...readFloats(tensor)].map(int)) : null
}

function constantFact(node: Node): Fact | null {
  const tensor = node.tensor('value')
  if (tensor !== undefined) return tensorFact(tensor)
  const [entry] = node.attributes
  if (entry === undefined) return null
  const [, attribute] = entry
  switch (attribute.type) {
    case 'int':
      return { dtype: 'int64', dims: [], contents: contentsOf([int(Number(attribute.value))]) }
    case 'ints':
      return {
        dtype: 'int64',
        dims: [int(attribute.value.length)],
        contents: contentsOf(attribute.value.map((n) => int(Number(n)))),
      }
    case 'float':
      return { dtype: 'float', dims: [], contents: contentsOf([int(attribute.value)]) }
    case 'floats':
      return { dtype: 'float', dims: [int(attribute.value.length)], contents: contentsOf(attribute.value.map(int)) }
    default:
      return null
  }
}

/** The axes of an input about which nothing is assumed but its declared names. */
export function declaredAxes(value: Value, size: (name: string) => number): readonly Dim[] | null {
  const dims = value.declaredDims
  if (dims === null) return null
  return dims.map((dim, i) => (typeof dim === 'number' ? int(dim) : sym(dim ?? `${value.name}:${i}`, size(dim ?? ''))))
}
