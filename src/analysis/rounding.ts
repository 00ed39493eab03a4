import { VitpassError } from '../errors.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { dependents, slice } from './dependence.ts'
import type { Facts } from './facts.ts'
import { sameZero } from './zero-points.ts'

/** A quantisation and its reading back: every element becomes the nearest that the integers can say. */
export interface Rounding {
  readonly scale: number
  /** Null for 0, in uint8. */
  readonly zeroPoint: Value | null
}

/**
 * The roundings that elements meet on their way from one value to another, in order. All of them meet all: there is one way only.
 * @throws VitpassError PASS_REFUSED naming the node that rounds some elements otherwise than others
 */
export function roundingsBetween(from: Value, to: Value, facts: Facts): readonly Rounding[] {
  const after = dependents(facts.graph, from)
  const between = new Set(
    slice(facts.graph, to, (value) => value === from).filter((node) =>
      node.inputs.some((value) => value !== null && after.has(value)),
    ),
  )
  const rounds = [...between].filter(isRounding)
  const found: Rounding[] = []
  let open: (Rounding & { readonly node: Node }) | null = null
  if (rounds.length === 0) return found
  for (let value = from; value !== to; ) {
    const [next, other] = new Set(value.users.filter((node) => between.has(node)))
    const output = next?.output(0) ?? null
    if (next === undefined || other !== undefined || output === null) {
      throw uneven('positions are rounded in more than one way', other ?? next ?? rounds[0])
    }
    value = output
    if (!isRounding(next)) continue
    const [scale, ...more] = facts.constants(next.input(1)) ?? []
    const rounding: Rounding = { scale: scale ?? Number.NaN, zeroPoint: next.input(2) }
    if (scale === undefined || more.length > 0) throw uneven('positions are rounded by more than one scale', next)
    if (next.opType === 'QuantizeLinear') {
      if (open !== null) throw uneven('positions are quantised twice over', next)
      open = { ...rounding, node: next }
      continue
    }
    if (open === null || open.scale !== scale || !sameZero(open.zeroPoint, rounding.zeroPoint, facts)) {
      throw uneven('quantised positions are read back by another scale', next)
    }
    found.push(rounding)
    open = null
  }
  if (open !== null) throw uneven('positions stay quantised', open.node)
  return found
}

/** True for a node that quantises, or reads back what is quantised. */
export function isRounding(node: Node): boolean {
  return node.opType === 'QuantizeLinear' || node.opType === 'DequantizeLinear'
}

function uneven(found: string, node: Node | undefined): VitpassError {
  return new VitpassError('PASS_REFUSED', found, {
    ...(node === undefined ? {} : { node: node.label }),
    remedy: 'quantise the model without its position embeddings, or encode it in groups of equal size',
  })
}
