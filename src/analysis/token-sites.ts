import type { Dim } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { ACTIVATIONS } from './activations.ts'

/** A softmax that runs over tokens: it has to be told which of them are padding. */
export interface SoftmaxSite {
  readonly node: Node
  /** The axis that it normalises, counted from the front. */
  readonly axis: number
  /** Axes of the scores, such as [batch, heads, query, key]. */
  readonly dims: readonly Dim[]
}

/** How a reduction puts tokens together: a mean has to leave padding out, the others have to read a neutral element there. */
export type PoolingKind = 'mean' | 'sum' | 'max' | 'min'

/** A reduction over tokens, such as mean pooling. */
export interface PoolingSite {
  readonly node: Node
  readonly kind: PoolingKind
  readonly axes: readonly number[]
  readonly dims: readonly Dim[]
  readonly keepdims: boolean
}

/** Reductions for which 0 is neutral are sums here. */
export const POOLINGS: Readonly<Record<string, PoolingKind>> = {
  ReduceMean: 'mean',
  ReduceSum: 'sum',
  ReduceL1: 'sum',
  ReduceL2: 'sum',
  ReduceSumSquare: 'sum',
  ReduceMax: 'max',
  ReduceMin: 'min',
}

/** An operand that depends on the grid and not on the pixels, combined with the tokens: positions, or a bias on scores. */
export interface GridOperand {
  readonly node: Node
  /** The input slot that holds it. */
  readonly slot: number
  readonly kind: 'tokens' | 'scores'
  /** Axes of the result. */
  readonly dims: readonly Dim[]
}

/**
 * A dynamic quantisation: its scale comes from the range of all that its first input holds, 0 included. Padding has to read 0 there. Other
 * images of the batch widen the range too, and that stays.
 */
export interface RangeSite {
  readonly node: Node
  /** Axes of the first input. */
  readonly dims: readonly Dim[]
}

/** A node that mixes tokens in a way that no mask makes right. */
export interface MixingProblem {
  readonly node: Node
  readonly reason: string
  /** True where it only blends neighbouring patches, as the decoders of dense predictions do. */
  readonly isDense?: boolean
  /** True where one image of the batch sees another. */
  readonly mixesImages?: boolean
}

/** A convolution over the patch grid that is right once its input is zero at padding. */
export interface ConvolutionSite {
  readonly node: Node
  /** Axes of its input: [batch, channels, rows, columns]. */
  readonly dims: readonly Dim[]
}

export interface TokenFlow {
  readonly softmaxes: readonly SoftmaxSite[]
  readonly poolings: readonly PoolingSite[]
  readonly ranges: readonly RangeSite[]
  readonly convolutions: readonly ConvolutionSite[]
  readonly operands: readonly GridOperand[]
  readonly problems: readonly MixingProblem[]
  /** Values that depend on what the caller's inputs hold. */
  readonly live: ReadonlySet<Value>
}

export const POINTWISE = new Set([
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Pow',
  'Min',
  'Max',
  'Sum',
  'Mean',
  'Where',
  'Cast',
  'CastLike',
  'Identity',
  'Dropout',
  'PRelu',
  ...ACTIVATIONS,
  'Neg',
  'Abs',
  'Floor',
  'Ceil',
  'Round',
  'Sqrt',
  'Sign',
  'Reciprocal',
  'Not',
  'IsNaN',
  'IsInf',
  'Equal',
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'And',
  'Or',
  'Xor',
  'com.microsoft:BiasGelu',
  'com.microsoft:FastGelu',
  'com.microsoft:Gelu',
  'com.microsoft:QuickGelu',
])

/** Operators that write numbers in another type by a scale and a zero point, or read them back. */
export const QUANTISING = new Set([
  'QuantizeLinear',
  'DequantizeLinear',
  'DynamicQuantizeLinear',
  'com.microsoft:QuantizeLinear',
  'com.microsoft:DequantizeLinear',
])

/** Operators that take their scale from the range of all that they read. */
export const DYNAMIC_RANGE = new Set(['DynamicQuantizeLinear', 'com.microsoft:DynamicQuantizeMatMul'])

export const LAYOUT = new Set([
  'Reshape',
  'Flatten',
  'Transpose',
  'Squeeze',
  'Unsqueeze',
  'Concat',
  'Slice',
  'Split',
  'Expand',
  'Gather',
])

/** Operators after which exact zeros at padded positions are still exact zeros, whatever the other operands are. */
export const KEEPS_ZERO = new Set([
  'Cast',
  'Identity',
  'Dropout',
  'Mul',
  'Div',
  'Transpose',
  'Reshape',
  'Squeeze',
  'Unsqueeze',
  'Expand',
  'Where',
])
