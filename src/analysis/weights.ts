import type { Node } from '../ir/node.ts'
import type { DeclaredDim, Value } from '../ir/value.ts'

/** Operators behind which stored weights lie in another type, of the same shape. */
const RETYPES = ['Cast', 'CastLike', 'DequantizeLinear', 'QuantizeLinear', 'Identity']

/** The shape of weights that a node reads, looked up behind the casts and the dequantisation of what is stored; null where unknown. */
function weightDims(value: Value | null): readonly DeclaredDim[] | null {
  for (let next = value; next !== null; next = next.producer?.input(0) ?? null) {
    const stored = next.tensor ?? next.producer?.tensor('value') ?? null
    if (stored !== null) return stored.dims
    if (next.declaredDims !== null) return next.declaredDims
    if (next.producer === null || !next.producer.is(...RETYPES)) return null
  }
  return null
}

/** Operators that convolve, by where their weights stand. */
const CONVOLUTIONS: Readonly<Record<string, number>> = {
  Conv: 1,
  ConvInteger: 1,
  QLinearConv: 3,
  'com.microsoft:FusedConv': 1,
}

export function isConvolution(node: Node): boolean {
  return Object.hasOwn(CONVOLUTIONS, node.operator)
}

/** The shape of a convolution's weights: [out channels, in channels of a group, kernel height, kernel width]. */
export function kernelDims(conv: Node): readonly DeclaredDim[] | null {
  return weightDims(conv.input(CONVOLUTIONS[conv.operator] ?? 1))
}

/** Channels of the image that a convolution reads; null where its weights do not tell. */
export function channelsOf(conv: Node): number | null {
  const perGroup = kernelDims(conv)?.[1]
  return typeof perGroup === 'number' ? perGroup * conv.int('group', 1) : null
}
