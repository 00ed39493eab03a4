import { isConstantTarget, reshapeTarget } from '../../analysis/reshape-target.ts'
import type { Rule } from '../engine.ts'

/**
 * The target of a Reshape, computed by a chain of Shape, Gather and Concat or spelled out for one traced size, becomes
 * `[0, 0, heads, headDim]`: it is read off the data's own axes. A target with more than one axis that has to be computed is
 * left for `dynshape`.
 */
export const constantTarget: Rule = {
  name: 'reshape target',
  match(node, { facts }) {
    const old = node.output(0)
    const data = node.input(0)
    const from = facts.dims(data)
    const to = facts.dims(old)
    if (!node.is('Reshape') || old === null || data === null || from === null || to === null) return null
    // A number of 0 elements would read as "copy".
    if (to.some((dim) => dim.n === 0)) return null
    const target = reshapeTarget(from, to)
    if (!isConstantTarget(target)) return null
    const stored = node.input(1)?.tensor === null ? null : facts.constants(node.input(1))
    const keepsZero = node.int('allowzero', 0) === 1
    if (!keepsZero && stored !== null && stored.length === target.length && stored.every((n, i) => n === target[i]))
      return null
    return { old, next: (builder) => builder.reshape(data, builder.int64(target)) }
  },
}
