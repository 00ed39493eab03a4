import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { type Facts, singleNumber } from './facts.ts'
import { normalAxis } from './shapes/context.ts'

/** A layer normalisation that is written out: `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the last axis. */
export interface LayerNorm {
  readonly input: Value
  readonly scale: Value
  readonly bias: Value
  readonly epsilon: number
  /** What the last operator gives. */
  readonly output: Value
}

const NORM_OPERATORS = new Set([
  'LayerNormalization',
  'RMSNormalization',
  'SkipLayerNormalization',
  'SkipSimplifiedLayerNormalization',
])

/** Normalisations over channels, in one operator or written out. */
export function countNorms(graph: Graph, facts: Facts): number {
  return graph.nodes.filter((node) => NORM_OPERATORS.has(node.opType) || matchQuotient(node, facts) !== null).length
}

/** Reads a written-out layer normalisation off its last operator, the Add of the bias; null for anything else. */
export function matchLayerNorm(node: Node, facts: Facts): LayerNorm | null {
  const output = node.output(0)
  if (!node.is('Add') || output === null) return null
  for (const slot of [0, 1]) {
    const scaled = node.input(slot)?.producer
    const bias = node.input(1 - slot)
    if (!scaled?.is('Mul') || bias === null || !isVector(bias, facts)) continue
    for (const side of [0, 1]) {
      const quotient = scaled.input(side)?.producer
      const scale = scaled.input(1 - side)
      const found = quotient == null ? null : matchQuotient(quotient, facts)
      if (found !== null && scale !== null && isVector(scale, facts)) return { ...found, scale, bias, output }
    }
  }
  return null
}

/** `d / sqrt(mean(d * d) + epsilon)` with `d = x - mean(x)`. */
function matchQuotient(node: Node, facts: Facts): { input: Value; epsilon: number } | null {
  if (!node.is('Div')) return null
  const deviation = node.input(0)
  const sum = producerOf(node.input(1), 'Sqrt')?.input(0)?.producer
  if (deviation === null || !sum?.is('Add')) return null
  const slot = [0, 1].find((i) => singleNumber(sum.input(i), facts) !== null)
  if (slot === undefined) return null
  const epsilon = singleNumber(sum.input(slot), facts)
  const square = meanOverLast(sum.input(1 - slot), facts)
  if (epsilon === null || square === null || !isSquareOf(square, deviation, facts)) return null
  const difference = producerOf(deviation, 'Sub')
  const input = difference?.input(0) ?? null
  return input !== null && meanOverLast(difference?.input(1) ?? null, facts) === input ? { input, epsilon } : null
}

function producerOf(value: Value | null, opType: string): Node | null {
  const node = value?.producer
  return node?.is(opType) ? node : null
}

/** What a ReduceMean over the last axis, axes kept, reads. */
function meanOverLast(value: Value | null, facts: Facts): Value | null {
  const node = producerOf(value, 'ReduceMean')
  const source = node?.input(0) ?? null
  const rank = facts.dims(source)?.length
  if (node === null || rank === undefined || node.int('keepdims', 1) !== 1) return null
  const axes = node.ints('axes') ?? facts.constants(node.input(1))
  return axes?.length === 1 && normalAxis(axes[0] ?? 0, rank) === rank - 1 ? source : null
}

function isSquareOf(value: Value, base: Value, facts: Facts): boolean {
  const node = value.producer
  if (node?.is('Mul')) return node.input(0) === base && node.input(1) === base
  return node?.is('Pow') === true && node.input(0) === base && singleNumber(node.input(1), facts) === 2
}

function isVector(value: Value, facts: Facts): boolean {
  return value.tensor !== null && facts.dims(value)?.length === 1
}
