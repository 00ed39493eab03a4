import { type Dim, isInt, roots } from '../ir/dim.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { dependents, isShapeSlot, sizeDerived, slice } from './dependence.ts'
import { shapeSummary } from './describe.ts'
import { dependsOnSize } from './grid.ts'
import { productOperands } from './products.ts'
import { normalAxis } from './shapes/context.ts'
import { type MixingProblem, POINTWISE, QUANTISING } from './token-sites.ts'
import type { Trace } from './trace.ts'

/** The first input that holds numbers computed from the padded size, where the node computes with them; null if there is none. */
export function sizeOperand(
  node: Node,
  live: ReadonlySet<Value>,
  sized: ReadonlySet<Value>,
  trace: Trace,
): Value | null {
  for (const [slot, value] of node.inputs.entries()) {
    if (value === null || live.has(value) || !sized.has(value) || isShapeSlot(node, slot)) continue
    const alongTokens = trace.facts.dims(value)?.some(dependsOnSize) ?? false
    // Positions are added to the tokens, one row for each: those are looked at as such.
    if (alongTokens && addsPerToken(node)) continue
    return value
  }
  return null
}

function addsPerToken(node: Node): boolean {
  return POINTWISE.has(node.operator) || node.opType === 'SkipLayerNormalization'
}

/** How a node lets one image of the batch see another, or takes one for all; null where it does neither. */
export function mixesImages(node: Node, live: ReadonlySet<Value>, trace: Inferred): string | null {
  return mixesByOperator(node, live, trace) ?? mixesByShape(node, live, trace)
}

/** What is known of a graph's shapes. */
type Inferred = Pick<Trace, 'facts' | 'opset'>

function mixesByOperator(node: Node, live: ReadonlySet<Value>, trace: Inferred): string | null {
  const { facts } = trace
  const source = node.inputs.find((value) => value !== null && live.has(value)) ?? null
  const dims = facts.dims(source)
  if (contractsBatch(node, trace)) return `${node.opType} sums over the batch`
  if (ATTENTION.has(node.opType)) {
    const inner = node.inputs.flatMap((value) => (value !== null && live.has(value) ? facts.dims(value)?.slice(1) : []))
    return inner.some(hasBatch) ? `${node.opType} runs over the batch` : null
  }
  if (dims === null || node.domain !== '') return null
  const holdsBatch = (axis: number) => hasBatch(dims[normalAxis(axis, dims.length)])
  const constants = (slot: number) => facts.constants(node.input(slot))
  if (node.opType.startsWith('Reduce')) {
    const axes = node.ints('axes') ?? constants(1) ?? (node.input(1) === null ? dims.map((_, i) => i) : [])
    return axes.some(holdsBatch) ? `${node.opType} runs over the batch` : null
  }
  switch (node.opType) {
    case 'ArgMax':
    case 'ArgMin':
      return holdsBatch(node.int('axis', 0)) ? `${node.opType} runs over the batch` : null
    case 'Softmax':
    case 'LogSoftmax': {
      const axis = node.int('axis', trace.opset < 13 ? 1 : -1)
      return holdsBatch(axis) ? `${node.opType} runs over the batch` : null
    }
    case 'CumSum':
      return (constants(1) ?? []).some(holdsBatch) ? 'CumSum runs over the batch' : null
    case 'Gather':
      return source === node.input(0) && holdsBatch(node.int('axis', 0))
        ? 'Gather picks images of the batch by number'
        : null
    case 'Slice':
      return (constants(3) ?? node.ints('axes') ?? []).some(holdsBatch) ? 'Slice cuts the batch' : null
  }
  return null
}

/** Fused attention of any domain: the batch comes first in all that it reads, and it sums over all other axes. */
const ATTENTION = new Set(['Attention', 'MultiHeadAttention'])

/** Computed from every image at once by design; `mask` says what that means. */
const SCALES = new Set(['DynamicQuantizeLinear'])

/** Each value that depends on the images must hold the batch once: an outer product of it pairs them, and without it one stands for all. */
function mixesByShape(node: Node, live: ReadonlySet<Value>, { facts }: Inferred): string | null {
  const inputs = node.inputs.filter((value) => value !== null && live.has(value))
  if (SCALES.has(node.opType) || !inputs.some((value) => countBatch(facts.dims(value) ?? []) === 1)) return null
  for (const output of node.outputs) {
    const dims = facts.dims(output)
    if (output === null || dims === null || !live.has(output)) continue
    const count = countBatch(dims)
    if (count > 1) return `${node.opType} pairs the images of the batch with one another`
    if (count === 0) return `${node.opType} makes ${shapeSummary(dims)} of all images, not one for each`
  }
  return null
}

/** How often the batch is a factor of the axes. */
export function countBatch(dims: readonly Dim[]): number {
  return dims
    .filter(hasBatch)
    .flatMap((dim) =>
      dim.atoms.length === 1 ? dim.atoms : dim.atoms.filter((atom) => hasBatch({ atoms: [atom], n: atom.n })),
    ).length
}

function hasBatch(dim: Dim | undefined): boolean {
  return dim !== undefined && roots(dim).has('batch')
}

function contractsBatch(node: Node, { facts }: Inferred): boolean {
  return (productOperands(node) ?? []).some(({ value, axis }, side) => {
    const dims = facts.dims(value)
    return (side === 0 || (dims?.length ?? 0) > 1) && hasBatch(dims?.at(axis))
  })
}

/**
 * What stands between the image input and the patch embedding must treat every pixel alike, whatever the padded size: a constant for
 * each channel may be added or multiplied, and nothing that is computed from the image or its size.
 */
export function changesBeforePatches(graph: Graph, trace: Trace, live: ReadonlySet<Value>): MixingProblem[] {
  const source = trace.patch.conv.input(0)
  if (source === null) return []
  const sized = sizeDerived(graph, trace.facts)
  const drawn = dependents(graph, trace.patch.pixels)
  return slice(graph, source).flatMap((node): MixingProblem[] => {
    if (!node.outputs.some((value) => value !== null && live.has(value))) return []
    const foreign = node.inputs.filter((value): value is Value => value !== null && !live.has(value))
    const uneven = foreign.some(
      (value) => sized.has(value) || (trace.facts.dims(value) ?? []).slice(-2).some((dim) => dim.n !== 1),
    )
    const images = node.inputs.filter(
      (value, slot) =>
        value !== null &&
        live.has(value) &&
        !isScalar(value, trace) &&
        !(node.is('Where') && slot === 0 && !drawn.has(value)),
    ).length
    if (images === 1 && !uneven && isPerPixel(node)) return []
    return [
      {
        node,
        reason: `${node.opType} changes the image before it is cut into patches, by more than a constant for each channel`,
      },
    ]
  })
}

function isPerPixel(node: Node): boolean {
  return (
    (node.domain === '' && (POINTWISE.has(node.opType) || node.opType === 'Identity')) || QUANTISING.has(node.operator)
  )
}

/** One number for the whole batch, such as the scale of a dynamic quantisation. */
function isScalar(value: Value, { facts }: Trace): boolean {
  return facts.dims(value)?.every((dim) => isInt(dim) && dim.n === 1) ?? false
}
