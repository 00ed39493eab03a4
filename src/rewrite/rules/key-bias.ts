import { isInt, layoutKey } from '../../ir/dim.ts'
import type { Node } from '../../ir/node.ts'
import { elementCount } from '../../ir/tensor.ts'
import type { Value } from '../../ir/value.ts'
import type { Rule, RuleContext } from '../engine.ts'

/** What moves or scales keys and scores, and keeps a part that is the same for every key the same for every key. */
const KEEPS_SHARED = new Set(['Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Identity'])

/**
 * A bias that is added to the keys of attention alike for every token, `softmax(q (k + b)^T)`, goes: it adds `q b^T` to each score of a
 * query, and Softmax does not see what all scores of a row have in common. Refuses where the keys or the scores are read elsewhere, and
 * where anything but moves, scaling by one number and additions to the scores stands on the way from the bias to the Softmax.
 */
export const keyBias: Rule = {
  name: 'key bias',
  match(node, context) {
    const old = node.output(0)
    if (!node.is('Add') || old === null) return null
    for (const slot of [0, 1]) {
      const bias = node.input(slot)
      const next = node.input(1 - slot)
      if (bias?.tensor == null || next === null || next.tensor !== null) continue
      const shared = sharedAxes(old, bias, context)
      if (shared.size > 0 && fallsOutOfSoftmax(old, shared, context)) return { old, next }
    }
    return null
  },
}

/** The axes along which a bias repeats itself, and which are no fixed numbers: batch and tokens. */
function sharedAxes(sum: Value, bias: Value, { facts }: RuleContext): Set<string> {
  const dims = facts.dims(sum)
  const own = bias.tensor?.dims ?? []
  if (dims === null || elementCount(own) === 1) return new Set()
  const shared = dims.filter((dim, axis) => !isInt(dim) && (own[axis - dims.length + own.length] ?? 1) === 1)
  return new Set(shared.map(layoutKey))
}

/** Follows keys to the one product that reads them, and its scores to the one Softmax that reads those. */
function fallsOutOfSoftmax(keys: Value, shared: ReadonlySet<string>, context: RuleContext): boolean {
  const { facts, graph, opset } = context
  let inScores = false
  for (let value: Value | null = keys; value !== null; ) {
    const [user, ...others]: readonly Node[] = graph.outputs.includes(value) ? [] : value.consumers
    if (user === undefined || others.length > 0) return false
    const next: Value | null = user.output(0)
    const dims = facts.dims(next)
    const last = dims?.at(-1)
    if (user.is('MatMul') && !inScores && user.input(1) === value) {
      if (last === undefined || !shared.has(layoutKey(last))) return false
      inScores = true
    } else if (user.is('Softmax')) {
      const axis = user.int('axis', opset < 13 ? 1 : -1)
      return inScores && (axis === -1 || axis === (dims?.length ?? 0) - 1)
    } else if (!KEEPS_SHARED.has(user.operator) && !user.is('Add') && !scales(user, value, context)) return false
    value = next
  }
  return false
}

/** Multiplies or divides all elements by one number. */
function scales(node: Node, value: Value, { facts }: RuleContext): boolean {
  if (!node.is('Mul', 'Div') || (node.is('Div') && node.input(0) !== value)) return false
  const factor = node.input(0) === value ? node.input(1) : node.input(0)
  const dims = facts.dims(factor)
  return dims?.every((dim) => isInt(dim) && dim.n === 1) ?? false
}
