import type { Facts } from '../../analysis/facts.ts'
import { isInt } from '../../ir/dim.ts'
import { type FloatType, isFloat } from '../../ir/dtype.ts'
import type { Node } from '../../ir/node.ts'
import type { Value } from '../../ir/value.ts'
import type { Builder } from '../../ops/builder.ts'
import { isEverywhere, type RuleContext } from '../engine.ts'

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

/** What an additive or boolean mask adds to the scores; null where it hides nothing. */
export function maskBias(
  mask: Value | null,
  dtype: FloatType,
  context: RuleContext,
): ((builder: Builder) => Value) | null {
  if (mask === null) return null
  const isBool = context.facts.dtype(mask) === 'bool'
  if (isBool && isEverywhere(mask, (n) => n !== 0, context)) return null
  if (!isBool && isEverywhere(mask, (n) => n === 0, context)) return null
  if (!isBool) return () => mask
  return (builder) => builder.where(mask, builder.float(0, dtype), builder.float(Number.NEGATIVE_INFINITY, dtype))
}
