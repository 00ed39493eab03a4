import { layoutKey } from '../../ir/dim.ts'
import type { Rule } from '../engine.ts'

/**
 * A Softmax over the last axis between a Reshape that merges the axes before it and one that splits them again, as a Softmax of opset
 * 11 is converted, becomes a Softmax of the unmerged scores. Refuses where the last axis itself is merged or split.
 */
export const flatSoftmax: Rule = {
  name: 'flat softmax',
  match(node, { facts, opset }) {
    const old = node.output(0)
    const softmax = node.input(0)?.producer
    const merge = softmax?.input(0)?.producer
    if (!node.is('Reshape') || old === null || !softmax?.is('Softmax') || !merge?.is('Reshape', 'Flatten')) return null
    const scores = merge.input(0)
    const [from, merged, to] = [facts.dims(scores), facts.dims(softmax.input(0)), facts.dims(old)]
    if (scores === null || from === null || merged === null || to === null) return null
    const keys = [from, merged, to].map((dims) => layoutKey(dims.at(-1) ?? { atoms: [], n: 1 }))
    const axis = softmax.int('axis', opset < 13 ? 1 : -1)
    const isLast = axis === -1 || axis === merged.length - 1
    if (!isLast || new Set(keys).size !== 1 || from.map(layoutKey).join() !== to.map(layoutKey).join()) return null
    return { old, next: (builder) => builder.softmax(scores, { axis: -1 }) }
  },
}
