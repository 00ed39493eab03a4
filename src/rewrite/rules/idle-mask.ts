import type { Node } from '../../ir/node.ts'
import { isEverywhere, type Rule, type RuleContext } from '../engine.ts'

/** The slot of the mask in fused attention, which exporters fill with one that hides nothing. */
const MASK_SLOT: Readonly<Record<string, number>> = {
  Attention: 3,
  'com.microsoft:Attention': 5,
  'com.microsoft:MultiHeadAttention': 5,
}

/** A mask of fused attention that hides nothing at any size, all true or all zero, goes: it may spell out the traced token count. */
export const idleMask: Rule = {
  name: 'idle mask',
  match(node, context) {
    const key = node.operator
    const slot = MASK_SLOT[key]
    const old = node.output(0)
    if (slot === undefined || old === null || node.outputs.slice(1).some((value) => value !== null)) return null
    if (!hidesNothing(node, slot, context)) return null
    const inputs = node.inputs.map((value, i) => (i === slot ? null : value))
    while (inputs.at(-1) === null) inputs.pop()
    const { opType, domain } = node
    const attributes = Object.fromEntries(node.attributes)
    return { old, next: ({ graph }) => graph.emit(opType, inputs, { attributes, domain })[0] ?? old }
  },
}

function hidesNothing(node: Node, slot: number, context: RuleContext): boolean {
  const mask = node.input(slot)
  if (mask === null) return false
  const isBool = context.facts.dtype(mask) === 'bool'
  return isEverywhere(mask, (n) => (isBool ? n !== 0 : n === 0), context)
}
