import { intTensor } from '../../src/ir/tensor-data.ts'
import type { Case } from './case.ts'
import { bool, type Fed, float, int64 } from './run-graph.ts'

const A = float([2, 3], [1, 2, 3, 6, 5, 4])
const W = float([3, 2], [1, 0, 0, 1, 1, 1])
const FLAGS = bool([2, 3], [0, 1, 0, 0, 0, 0])
const NUMBERS = int64([2, 3], [3, 1, 2, -4, 0, 9])
const IMAGE = float(
  [1, 1, 4, 4],
  Array.from({ length: 16 }, (_, i) => i),
)

const half = (fed: Fed): Fed => ({ ...fed, dtype: 'float16' })

function softmax(...logits: number[]): number[] {
  const powers = logits.map(Math.exp)
  const total = powers.reduce((sum, power) => sum + power, 0)
  return powers.map((power) => power / total)
}

/** Columns of two rows, interleaved. */
function columns(pairs: readonly (readonly number[])[]): number[] {
  return [...pairs.map(([top = 0]) => top), ...pairs.map(([, bottom = 0]) => bottom)]
}

const NORMAL = [-1, 0, 1].map((x) => x / Math.sqrt(2 / 3))

/** Ties go to the even number; beyond the range, to its end. */
const ROUNDED = float([6], [0.5, 1.5, -0.5, 100, -100, 0])

export const networkCases: readonly Case[] = [
  { op: 'MatMul', inputs: [A, W], build: (b, a, w) => b.matMul(a, w), expected: [float([2, 2], [4, 5, 10, 9])] },
  {
    op: 'QuantizeLinear',
    from: 10,
    inputs: [ROUNDED],
    build: (b, x) =>
      b.cast(b.quantizeLinear(x, b.float(0.5), { zeroPoint: b.constant(intTensor('int8', [], [-3])) }), {
        to: 'int64',
      }),
    expected: [int64([6], [-2, 0, -4, 127, -128, -3])],
  },
  {
    op: 'QuantizeLinear',
    what: 'ties',
    from: 10,
    inputs: [ROUNDED],
    build: (b, x) =>
      b.cast(b.quantizeLinear(x, b.float(1), { zeroPoint: b.constant(intTensor('uint8', [], [7])) }), { to: 'int64' }),
    expected: [int64([6], [7, 9, 7, 107, 0, 7])],
  },
  {
    op: 'DequantizeLinear',
    from: 10,
    inputs: [NUMBERS],
    build: (b, x) =>
      b.dequantizeLinear(b.cast(x, { to: 'int8' }), b.float(0.5), {
        zeroPoint: b.constant(intTensor('int8', [], [2])),
      }),
    expected: [float([2, 3], [0.5, -0.5, 0, -3, -1, 3.5])],
  },
  {
    op: 'DequantizeLinear',
    what: 'with a scale for each row',
    from: 13,
    inputs: [NUMBERS],
    build: (b, x) => b.dequantizeLinear(b.cast(x, { to: 'int8' }), b.float([1, 0.5]), { axis: 0 }),
    expected: [float([2, 3], [3, 1, 2, -2, 0, 4.5])],
  },
  {
    op: 'Gemm',
    inputs: [A, W, float([2], [1, 2])],
    build: (b, a, w, c) => b.gemm(a, w, { c, alpha: 2 }),
    expected: [float([2, 2], [9, 12, 21, 20])],
  },
  {
    op: 'Gemm',
    what: 'transposed, without a bias',
    from: 11,
    inputs: [A, W],
    build: (b, a, w) => b.gemm(w, a, { transA: 1, transB: 1 }),
    expected: [float([2, 2], [4, 10, 5, 9])],
  },
  {
    op: 'Conv',
    inputs: [IMAGE, float([1, 1, 2, 2], [1, 0, 0, 1]), float([1], [0.5])],
    build: (b, x, w, bias) => b.conv(x, w, { bias, strides: [2, 2] }),
    expected: [float([1, 1, 2, 2], [5.5, 9.5, 21.5, 25.5])],
  },
  {
    op: 'MaxPool',
    inputs: [IMAGE],
    build: (b, x) => b.maxPool(x, { kernel_shape: [2, 2], strides: [2, 2] }),
    expected: [float([1, 1, 2, 2], [5, 7, 13, 15])],
  },
  {
    op: 'LayerNormalization',
    from: 17,
    inputs: [A, float([3], [1, 2, 1]), float([3], [0, 0, 1])],
    build: (b, x, scale, bias) => b.layerNormalization(x, scale, { bias, epsilon: 1e-12 }),
    expected: [float([2, 3], [NORMAL[0] ?? 0, 0, 1 + (NORMAL[2] ?? 0), NORMAL[2] ?? 0, 0, 1 + (NORMAL[0] ?? 0)])],
  },
  {
    op: 'Softmax',
    inputs: [A],
    build: (b, x) => b.softmax(x),
    expected: [float([2, 3], [...softmax(1, 2, 3), ...softmax(6, 5, 4)])],
  },
  {
    op: 'Softmax',
    what: 'over three axes',
    inputs: [float([2, 1, 3], A.data)],
    build: (b, x) => b.softmax(x, { axis: 2 }),
    expected: [float([2, 1, 3], [...softmax(1, 2, 3), ...softmax(6, 5, 4)])],
  },
  {
    op: 'Softmax',
    what: 'over the first axis',
    inputs: [A],
    build: (b, x) => b.softmax(x, { axis: 0 }),
    expected: [float([2, 3], columns([softmax(1, 6), softmax(2, 5), softmax(3, 4)]))],
  },
  {
    op: 'Softmax',
    what: 'of halves',
    inputs: [half(float([2], [1, 1]))],
    build: (b, x) => b.softmax(x),
    expected: [half(float([2], [0.5, 0.5]))],
  },
  {
    op: 'ReduceMax',
    inputs: [A],
    build: (b, x) => b.reduceMax(x, { axes: [1], keepdims: 0 }),
    expected: [float([2], [3, 6])],
  },
  {
    op: 'ReduceMax',
    what: 'over all axes',
    inputs: [A],
    build: (b, x) => b.reduceMax(x, { keepdims: 0 }),
    expected: [float([], [6])],
  },
  {
    op: 'ReduceMax',
    what: 'of int64',
    inputs: [NUMBERS],
    build: (b, n) => b.reduceMax(n, { axes: [-1] }),
    expected: [int64([2, 1], [3, 9])],
  },
  {
    op: 'ReduceMax',
    what: 'of bool',
    inputs: [FLAGS],
    build: (b, p) => b.reduceMax(p, { axes: [1], keepdims: 0, name: 'any' }),
    expected: [bool([2], [1, 0])],
  },
  {
    op: 'ReduceMin',
    inputs: [A, FLAGS],
    build: (b, x, p) => [b.reduceMin(x, { axes: [0] }), b.reduceMin(b.not(p), { axes: [1], keepdims: 0 })],
    expected: [float([1, 3], [1, 2, 3]), bool([2], [0, 1])],
  },
  { op: 'ReduceMean', inputs: [A], build: (b, x) => b.reduceMean(x, { axes: [1] }), expected: [float([2, 1], [2, 5])] },
  {
    op: 'ReduceSum',
    inputs: [NUMBERS],
    build: (b, n) => b.reduceSum(n, { axes: [1], keepdims: 0 }),
    expected: [int64([2], [6, 5])],
  },
  {
    op: 'ReduceProd',
    inputs: [NUMBERS],
    build: (b, n) => b.reduceProd(n, { axes: [1], keepdims: 0 }),
    expected: [int64([2], [6, 0])],
  },
  {
    op: 'ReduceL2',
    inputs: [float([2], [3, 4])],
    build: (b, x) => b.reduceL2(x, { axes: [0] }),
    expected: [float([1], [5])],
  },
  {
    op: 'ReduceSum',
    what: 'over computed axes',
    from: 13,
    inputs: [A, int64([1], [1])],
    build: (b, x, axes) => b.reduceSum(x, { axes, keepdims: 0 }),
    expected: [float([2], [6, 15])],
  },
  {
    op: 'ReduceMean',
    what: 'over computed axes',
    from: 18,
    inputs: [A, int64([1], [1])],
    build: (b, x, axes) => b.reduceMean(x, { axes, keepdims: 0 }),
    expected: [float([2], [2, 5])],
  },
  { op: 'ArgMax', inputs: [A], build: (b, x) => b.argMax(x, { axis: 1, keepdims: 0 }), expected: [int64([2], [2, 0])] },
  {
    op: 'TopK',
    inputs: [A],
    build: (b, x) => b.topK(x, { k: 2, axis: 1 }),
    expected: [float([2, 2], [3, 2, 6, 5]), int64([2, 2], [2, 1, 0, 1])],
  },
  {
    op: 'TopK',
    what: 'smallest, of a computed number',
    from: 11,
    inputs: [A, int64([1], [1])],
    build: (b, x, k) => b.topK(x, { k, largest: 0 }),
    expected: [float([2, 1], [1, 4]), int64([2, 1], [0, 2])],
  },
]
