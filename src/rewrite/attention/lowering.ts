import type { Facts } from '../../analysis/facts.ts'
import { type Dim, isInt } from '../../ir/dim.ts'
import { type FloatType, isFloat } from '../../ir/dtype.ts'
import type { Node } from '../../ir/node.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import { isEverywhere, type RuleContext } from '../engine.ts'
import type { AttentionMask } from './core.ts'

/** How one fused attention node is written in basic operators, or why it cannot be. */
export type Lowering = { readonly build: (builder: Builder) => Value } | { readonly reason: string }

/** Gives the lowering of the nodes it knows; null for all others. */
export type LoweringRule = (node: Node, context: RuleContext) => Lowering | null

/** The float type of an operand, or the reason why it is none. */
export function floatType(value: Value | null, facts: Facts): FloatType | null {
  const dtype = facts.dtype(value)
  return dtype !== undefined && isFloat(dtype) ? dtype : null
}

/** The length of an axis that is a plain number. */
export function fixedLength(value: Value | null, axis: number, facts: Facts): number | null {
  const dim = facts.dims(value)?.at(axis)
  return dim !== undefined && isInt(dim) ? dim.n : null
}

/** True for outputs beyond the first that something reads. */
export function readsOtherOutputs(node: Node, graphOutputs: readonly Value[]): boolean {
  return node.outputs
    .slice(1)
    .some((value) => value !== null && (value.consumers.length > 0 || graphOutputs.includes(value)))
}

/** The first attribute that a lowering does not know, and so cannot keep. */
export function unknownAttribute(node: Node, known: readonly string[]): string | null {
  for (const [name] of node.attributes) if (!known.includes(name)) return name
  return null
}

/** True where a mask has an entry for every key; a shorter one, of one entry even, means other things in other versions. */
export function spansKeys(mask: Value | null, keys: Dim | undefined, facts: Facts): boolean {
  if (mask === null) return true
  const last = facts.dims(mask)?.at(-1)
  return last !== undefined && keys !== undefined && last.n === keys.n
}

/** A mask of floats or bools; null where there is none, or where it hides nothing. */
export function usefulMask(mask: Value | null, context: RuleContext): AttentionMask | null {
  if (mask === null) return null
  const isBool = context.facts.dtype(mask) === 'bool'
  return isEverywhere(mask, (n) => (n !== 0) === isBool, context) ? null : { value: mask, isBool }
}
