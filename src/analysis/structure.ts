import { isFloat } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import { elementCount } from '../ir/tensor.ts'
import type { Value } from '../ir/value.ts'
import { CONVOLVED, kernelOf } from './dense.ts'
import { dependents, slice } from './dependence.ts'
import type { PatchEmbedding } from './pixels.ts'
import type { MixingProblem } from './token-sites.ts'

/**
 * What keeps an encoder from being masked, told from its operators alone: convolutions, pooling and resizing of the patch grid, windows, and
 * relative position biases. For graphs whose shapes cannot be followed, mostly because of these very things, so that the reason
 * given is this and not the size at which the shapes disagree. Empty where nothing of the kind is found.
 */
export function structuralMixing(graph: Graph, { conv }: Pick<PatchEmbedding, 'conv'>): MixingProblem[] {
  const start = conv.output(0)
  if (start === null) return []
  const live = dependents(graph, start)
  return graph.nodes.flatMap((node): MixingProblem[] => {
    if (node === conv || !node.inputs.some((value) => value !== null && live.has(value))) return []
    const reason = structuralReason(graph, node, live)
    return reason === null ? [] : [{ node, reason }]
  })
}

function structuralReason(graph: Graph, node: Node, live: ReadonlySet<Value>): string | null {
  switch (node.opType) {
    case 'Conv':
    case 'ConvTranspose':
    case 'FusedConv':
      return mixesGrid(node) ? CONVOLVED : null
    case 'MaxPool':
    case 'AveragePool':
      return `${node.opType} pools neighbouring patches, padded ones among them`
    case 'Resize':
    case 'Upsample':
      return readsFirst(node, live) ? `${node.opType} blends neighbouring patches, padded ones among them` : null
    case 'Transpose':
      return cutsWindows(node)
        ? 'tokens are cut into windows that attend each by itself, whatever the image fills of them'
        : null
    case 'Add':
      return addsRelativeBias(graph, node, live)
        ? 'a relative position bias is added to the attention scores, which is made for one grid of patches'
        : null
  }
  return null
}

function readsFirst(node: Node, live: ReadonlySet<Value>): boolean {
  const first = node.input(0)
  return first !== null && live.has(first)
}

/** A kernel of more than one patch, unless it moves patch by patch and zeros surround the grid: that one can be made right. */
function mixesGrid(node: Node): boolean {
  const kernel = kernelOf(node)
  if (kernel.every((length) => length === 1)) return false
  const dilations = node.ints('dilations') ?? []
  const pads = node.ints('pads') ?? []
  const steps = (node.ints('strides') ?? []).some((stride) => stride !== 1)
  const keeps = kernel.every(
    (length, i) => (pads[i] ?? 0) + (pads[i + kernel.length] ?? 0) === (length - 1) * (dilations[i] ?? 1),
  )
  return node.opType === 'ConvTranspose' || steps || !(keeps || node.string('auto_pad', '').startsWith('SAME'))
}

/** [batch, rows, in window, columns, in window, channels] with the two in the middle exchanged, behind the Reshape that cuts. */
function cutsWindows(node: Node): boolean {
  const perm = node.ints('perm') ?? []
  return perm.length === 6 && perm[2] === 3 && perm[3] === 2 && node.input(0)?.producer?.is('Reshape') === true
}

/** An operand of attention scores, straight before their softmax, that is made of a stored table. */
function addsRelativeBias(graph: Graph, node: Node, live: ReadonlySet<Value>): boolean {
  const bias = node.inputs.find((value) => value !== null && !live.has(value)) ?? null
  if (bias === null || !leadsToSoftmax(node)) return false
  return sources(graph, bias).some(isTable)
}

/** All that a value is made of, what its makers' branches read included. */
function sources(graph: Graph, value: Value): (Value | null)[] {
  const makers = slice(graph, value)
  const captured = makers.flatMap((node) =>
    node.subgraphs.flatMap((inner) => [...inner.walk()].flatMap((one) => one.inputs)),
  )
  const beyond = captured.flatMap((one) => (one === null ? [] : slice(graph, one)))
  return [value, ...[...makers, ...beyond].flatMap((maker) => maker.inputs), ...captured]
}

function leadsToSoftmax(node: Node): boolean {
  let readers = node.output(0)?.users ?? []
  for (let depth = 0; depth < 3; depth += 1) {
    if (readers.some((reader) => reader.is('Softmax'))) return true
    readers = readers
      .filter((reader) => reader.is('Add', 'Reshape', 'Cast', 'Where'))
      .flatMap((reader) => reader.output(0)?.users ?? [])
  }
  return false
}

function isTable(value: Value | null): boolean {
  const tensor = value?.tensor ?? null
  return tensor !== null && isFloat(tensor.dtype) && tensor.dims.length >= 2 && elementCount(tensor.dims) > 1
}
