import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import type { Facts } from './facts.ts'

/**
 * What exact zeros are written as: a zero point after quantisation, null for plain zeros. Dequantised with another zero point, or
 * multiplied as if it were another, they are zeros no longer.
 */
export type ZeroLevel = Value | null

/** True where two zero points are one value, or constants of equal numbers; a missing one is 0. */
export function sameZero(a: ZeroLevel, b: ZeroLevel, facts: Facts): boolean {
  if (a === b) return true
  const [left, right] = [a, b].map((value) => (value === null ? [0] : facts.constants(value)))
  if (left === undefined || right === undefined || left === null || right === null) return false
  const length = Math.max(left.length, right.length)
  if (left.length === 0 || right.length === 0) return false
  return Array.from({ length }, (_, i) => i).every((i) => left[i % left.length] === right[i % right.length])
}

/**
 * What zeros in a quantising node's first input are in its first output; undefined where they are zeros no longer. QuantizeLinear and
 * DynamicQuantizeLinear write 0 as their zero point exactly, whatever the scale.
 */
export function quantisedZero(node: Node, level: ZeroLevel, facts: Facts): ZeroLevel | undefined {
  switch (node.opType) {
    case 'QuantizeLinear':
      return level === null ? node.input(2) : undefined
    case 'DynamicQuantizeLinear':
      return level === null ? node.output(2) : undefined
    case 'DequantizeLinear':
      return sameZero(level, node.input(2), facts) ? null : undefined
    default:
      return undefined
  }
}

/** The axis along which a quantising node has a scale for each index, counted from the front; null where one scale serves all. */
export function scaleAxis(node: Node, rank: number, facts: Facts): number | null {
  const scale = facts.dims(node.input(1)) ?? []
  if (scale.every(({ n }) => n === 1)) return null
  const axis = node.int('axis', 1)
  return axis < 0 ? axis + rank : axis
}
