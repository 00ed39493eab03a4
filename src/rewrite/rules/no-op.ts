import { layoutKey } from '../../ir/dim.ts'
import type { Node } from '../../ir/node.ts'
import type { Value } from '../../ir/value.ts'
import { isEverywhere, type Rule, type RuleContext } from '../engine.ts'

/** Operators that only change a shape: where the shape is the same, nothing is left of them. */
const SHAPE_CHANGERS = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Expand', 'Tile'])

/** Operators with a neutral operand: the number, and the input slots in which it may stand. */
const NEUTRAL: Readonly<Record<string, readonly [number, readonly number[]]>> = {
  Add: [0, [0, 1]],
  Sub: [0, [1]],
  Mul: [1, [0, 1]],
  Div: [1, [1]],
  Pow: [1, [1]],
}

/**
 * Nodes that hand on one input unchanged: Identity, Dropout at inference, Cast to the same type, a Reshape to the same axes,
 * Transpose in order, a Slice of everything, Concat of one, Add of 0, Mul by 1, Where with a condition that always holds.
 * An additive mask that is all zero and a boolean mask that is all true are among them. A result that would lose axes by it
 * keeps its node.
 */
export const noOp: Rule = {
  name: 'no-op',
  match(node, context) {
    const old = node.output(0)
    if (old === null || node.domain !== '') return null
    if (node.outputs.slice(1).some((value) => value !== null && value.consumers.length > 0)) return null
    const next = handedOn(node, context)
    if (next === null || !isSame(next, old, context) || carriesName(node, next, old, context)) return null
    return { old, next }
  },
}

function handedOn(node: Node, context: RuleContext): Value | null {
  const [first] = node.inputs
  const { opType } = node
  if (first === undefined) return null
  if (opType === 'Identity' || opType === 'Cast' || SHAPE_CHANGERS.has(opType)) return first
  if (opType === 'Dropout') return isTraining(node, context) ? null : first
  if (opType === 'Concat') return node.inputs.length === 1 ? first : null
  if (opType === 'Transpose') return node.ints('perm')?.every((axis, i) => axis === i) === true ? first : null
  if (opType === 'Slice') return steps(node, context)?.every((step) => step === 1) === true ? first : null
  if (opType === 'Where') return chosenBranch(node, context)
  const neutral = NEUTRAL[opType]
  if (neutral === undefined) return null
  const [number, slots] = neutral
  for (const slot of slots) {
    if (isEverywhere(node.input(slot), (n) => n === number, context)) return node.input(1 - slot)
  }
  return null
}

function isTraining(node: Node, context: RuleContext): boolean {
  const mode = context.facts.constants(node.input(2))
  return node.input(2) !== null && (mode === null || mode[0] !== 0)
}

function steps(node: Node, { facts }: RuleContext): number[] | null {
  const given = node.input(4)
  return given === null ? [1] : facts.constants(given)
}

function chosenBranch(node: Node, context: RuleContext): Value | null {
  if (isEverywhere(node.input(0), (n) => n !== 0, context)) return node.input(1)
  if (isEverywhere(node.input(0), (n) => n === 0, context)) return node.input(2)
  return null
}

/** Same type and same axes: an Expand that repeats over a batch of one is none. */
function isSame(next: Value, old: Value, { facts }: RuleContext): boolean {
  const [a, b] = [facts.dims(next), facts.dims(old)]
  if (a === null || b === null || facts.dtype(next) === undefined || facts.dtype(next) !== facts.dtype(old))
    return false
  return a.map(layoutKey).join() === b.map(layoutKey).join()
}

/** True for the Identity that gives a graph output its name, where what it carries has a name of its own to keep. */
function carriesName(node: Node, next: Value, old: Value, { graph }: RuleContext): boolean {
  const keepsName = graph.inputs.includes(next) || graph.outputs.includes(next) || next.tensor !== null
  return node.is('Identity') && graph.outputs.includes(old) && keepsName
}
