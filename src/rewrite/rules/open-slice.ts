import { listOf } from '../../analysis/facts.ts'
import { normalAxis } from '../../analysis/shapes/context.ts'
import { isInt, resolve, sizeKey } from '../../ir/dim.ts'
import type { Rule } from '../engine.ts'

/** Further than any axis is long. */
const END = Number.MAX_SAFE_INTEGER

/**
 * A Slice along one axis to an end that is computed, and is always the axis's own end, gets a constant there: whatever computed it,
 * such as the shape of a position table, is needed no more.
 */
export const openSlice: Rule = {
  name: 'slice end',
  match(node, { facts, opset }) {
    const [source, start, end] = [node.input(0), node.input(1), node.input(2)]
    const old = node.output(0)
    if (!node.is('Slice') || opset < 10 || source === null || start === null || end === null || old === null)
      return null
    const from = facts.dims(source)
    const [starts, axes, ends] = [facts.constants(start), facts.constants(node.input(3)), facts.contents(end)]
    const steps = node.input(4) === null ? [1] : facts.constants(node.input(4))
    if (from === null || starts?.length !== 1 || axes?.length !== 1 || steps?.[0] !== 1 || ends === null) return null
    const [whole, stop] = [from[normalAxis(axes[0] ?? 0, from.length)], listOf(ends)[0]]
    if (whole === undefined || stop === undefined || isInt(stop)) return null
    if (sizeKey(resolve(stop)) !== sizeKey(whole)) return null
    return { old, next: (builder) => builder.slice(source, { starts, ends: [END], axes }) }
  },
}
