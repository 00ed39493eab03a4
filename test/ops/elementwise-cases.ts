import { numberTensor } from '../../src/ops/constants.ts'
import type { Case } from './case.ts'
import { bool, type Fed, float, int64 } from './run-graph.ts'

const X = float([2, 3], [-1.5, -0.5, 0, 0.5, 1.25, 2.5])
const Y = float([3], [2, -0.5, 1])
const POSITIVE = float([4], [0.25, 1, 2, 9])
const N = int64([4], [7, -7, 0, 3])
const M = int64([4], [3, 3, 5, 3])
const P = bool([4], [1, 1, 0, 0])
const Q = bool([4], [1, 0, 1, 0])
const HALF: Fed = { dtype: 'float16', dims: [3], data: [-1, 0.5, 4] }

const map = (fed: Fed, f: (x: number) => number): Fed => ({ ...fed, data: fed.data.map(f) })
const flags = (fed: Fed, f: (x: number) => boolean): Fed =>
  bool(
    fed.dims,
    fed.data.map((x) => Number(f(x))),
  )
const zip = (a: Fed, b: Fed, f: (x: number, y: number) => number): Fed => ({
  ...a,
  data: a.data.map((x, at) => f(x, b.data[at % b.data.length] ?? Number.NaN)),
})
const compare = (a: Fed, b: Fed, f: (x: number, y: number) => boolean): Fed => ({
  ...zip(a, b, (x, y) => Number(f(x, y))),
  dtype: 'bool',
})
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

function erf(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; n < 60; n += 1) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

export const elementwiseCases: readonly Case[] = [
  { op: 'Abs', inputs: [X], build: (b, x) => b.abs(x), expected: [map(X, Math.abs)] },
  { op: 'Ceil', inputs: [X], build: (b, x) => b.ceil(x), expected: [map(X, Math.ceil)] },
  { op: 'Floor', inputs: [X], build: (b, x) => b.floor(x), expected: [map(X, Math.floor)] },
  { op: 'Round', from: 11, inputs: [X], build: (b, x) => b.round(x), expected: [float([2, 3], [-2, 0, 0, 0, 1, 2])] },
  { op: 'Sign', inputs: [X], build: (b, x) => b.sign(x), expected: [map(X, Math.sign)] },
  { op: 'Neg', inputs: [X], build: (b, x) => b.neg(x), expected: [map(X, (x) => -x)] },
  { op: 'Neg', what: 'of int64', inputs: [N], build: (b, n) => b.neg(n), expected: [map(N, (n) => -n)] },
  { op: 'Reciprocal', inputs: [Y], build: (b, x) => b.reciprocal(x), expected: [map(Y, (x) => 1 / x)] },
  { op: 'Sqrt', inputs: [POSITIVE], build: (b, x) => b.sqrt(x), expected: [map(POSITIVE, Math.sqrt)] },
  { op: 'Log', inputs: [POSITIVE], build: (b, x) => b.log(x), expected: [map(POSITIVE, Math.log)] },
  { op: 'Exp', inputs: [X], build: (b, x) => b.exp(x), expected: [map(X, Math.exp)] },
  { op: 'Sin', inputs: [X], build: (b, x) => b.sin(x), expected: [map(X, Math.sin)] },
  { op: 'Cos', inputs: [X], build: (b, x) => b.cos(x), expected: [map(X, Math.cos)] },
  { op: 'Tanh', inputs: [X], build: (b, x) => b.tanh(x), expected: [map(X, Math.tanh)] },
  { op: 'Sigmoid', inputs: [X], build: (b, x) => b.sigmoid(x), expected: [map(X, sigmoid)] },
  { op: 'Relu', inputs: [X], build: (b, x) => b.relu(x), expected: [map(X, (x) => Math.max(x, 0))] },
  { op: 'Erf', inputs: [X], build: (b, x) => b.erf(x), expected: [map(X, erf)] },
  {
    op: 'Gelu',
    from: 20,
    inputs: [X],
    build: (b, x) => b.gelu(x),
    expected: [map(X, (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)))],
  },
  {
    op: 'Gelu',
    what: 'by tanh',
    from: 20,
    inputs: [X],
    build: (b, x) => b.gelu(x, { approximate: 'tanh' }),
    expected: [map(X, (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))))],
  },
  { op: 'Identity', inputs: [X], build: (b, x) => b.identity(x), expected: [X] },
  { op: 'IsNaN', inputs: [X], build: (b, x) => b.isNaN(b.sqrt(x)), expected: [flags(X, (x) => x < 0)] },
  {
    op: 'IsInf',
    from: 10,
    inputs: [X],
    build: (b, x) => b.isInf(b.reciprocal(x)),
    expected: [flags(X, (x) => x === 0)],
  },
  { op: 'Add', inputs: [X, Y], build: (b, x, y) => b.add(x, y), expected: [zip(X, Y, (x, y) => x + y)] },
  { op: 'Add', what: 'a number to int64', inputs: [N], build: (b, n) => b.add(n, 5), expected: [map(N, (n) => n + 5)] },
  {
    op: 'Add',
    what: 'a number to halves',
    inputs: [HALF],
    build: (b, x) => b.add(x, 0.5),
    expected: [map(HALF, (x) => x + 0.5)],
  },
  { op: 'Sub', what: 'from a number', inputs: [X], build: (b, x) => b.sub(1, x), expected: [map(X, (x) => 1 - x)] },
  { op: 'Mul', inputs: [X, Y], build: (b, x, y) => b.mul(x, y), expected: [zip(X, Y, (x, y) => x * y)] },
  { op: 'Div', inputs: [X, Y], build: (b, x, y) => b.div(x, y), expected: [zip(X, Y, (x, y) => x / y)] },
  { op: 'Div', what: 'int64', inputs: [M], build: (b, m) => b.div(m, 2), expected: [map(M, (m) => Math.floor(m / 2))] },
  {
    op: 'Mod',
    what: 'int64',
    from: 10,
    inputs: [N, M],
    build: (b, n, m) => b.mod(n, m),
    expected: [int64([4], [1, 2, 0, 0])],
  },
  { op: 'Mod', what: 'floats', from: 10, inputs: [X], build: (b, x) => b.mod(x, 1), expected: [map(X, (x) => x % 1)] },
  { op: 'Pow', inputs: [X], build: (b, x) => b.pow(x, 2), expected: [map(X, (x) => x ** 2)] },
  { op: 'Pow', what: 'of a number', inputs: [X], build: (b, x) => b.pow(2, x), expected: [map(X, (x) => 2 ** x)] },
  { op: 'Equal', inputs: [X], build: (b, x) => b.equal(x, 0.5), expected: [flags(X, (x) => x === 0.5)] },
  {
    op: 'Equal',
    what: 'int64',
    inputs: [N, M],
    build: (b, n, m) => b.equal(n, m),
    expected: [compare(N, M, (n, m) => n === m)],
  },
  {
    op: 'Equal',
    what: 'bool',
    inputs: [P, Q],
    build: (b, p, q) => b.equal(p, q),
    expected: [compare(P, Q, (p, q) => p === q)],
  },
  { op: 'Greater', inputs: [X, Y], build: (b, x, y) => b.greater(x, y), expected: [compare(X, Y, (x, y) => x > y)] },
  {
    op: 'Less',
    what: 'int64',
    inputs: [N, M],
    build: (b, n, m) => b.less(n, m),
    expected: [compare(N, M, (n, m) => n < m)],
  },
  {
    op: 'GreaterOrEqual',
    inputs: [N, M],
    build: (b, n, m) => b.greaterOrEqual(n, m),
    expected: [compare(N, M, (n, m) => n >= m)],
  },
  { op: 'LessOrEqual', inputs: [X], build: (b, x) => b.lessOrEqual(x, 0.5), expected: [flags(X, (x) => x <= 0.5)] },
  { op: 'And', inputs: [P, Q], build: (b, p, q) => b.and(p, q), expected: [compare(P, Q, (p, q) => p * q === 1)] },
  { op: 'Or', inputs: [P, Q], build: (b, p, q) => b.or(p, q), expected: [compare(P, Q, (p, q) => p + q > 0)] },
  { op: 'Xor', inputs: [P, Q], build: (b, p, q) => b.xor(p, q), expected: [compare(P, Q, (p, q) => p !== q)] },
  { op: 'Not', inputs: [P], build: (b, p) => b.not(p), expected: [flags(P, (p) => p === 0)] },
  {
    op: 'Max',
    inputs: [X, Y],
    build: (b, x, y) => b.max([x, y, 0]),
    expected: [zip(X, Y, (x, y) => Math.max(x, y, 0))],
  },
  {
    op: 'Max',
    what: 'int64',
    inputs: [N, M],
    build: (b, n, m) => b.max([1, n, m]),
    expected: [zip(N, M, (n, m) => Math.max(1, n, m))],
  },
  { op: 'Min', inputs: [X], build: (b, x) => b.min([x, 0.25]), expected: [map(X, (x) => Math.min(x, 0.25))] },
  { op: 'Min', what: 'int64', inputs: [N, M], build: (b, n, m) => b.min([n, m]), expected: [zip(N, M, Math.min)] },
  {
    op: 'Clip',
    inputs: [X],
    build: (b, x) => b.clip(x, { min: -1, max: 1 }),
    expected: [map(X, (x) => Math.min(Math.max(x, -1), 1))],
  },
  {
    op: 'Clip',
    what: 'from below',
    inputs: [X],
    build: (b, x) => b.clip(x, { min: 0 }),
    expected: [map(X, (x) => Math.max(x, 0))],
  },
  {
    op: 'Clip',
    what: 'int64',
    inputs: [N],
    build: (b, n) => b.clip(n, { min: 0, max: 5 }),
    expected: [map(N, (n) => Math.min(Math.max(n, 0), 5))],
  },
  {
    op: 'Clip',
    what: 'to a computed limit',
    inputs: [X],
    build: (b, x) => b.clip(x, { max: b.reduceMean(x, { axes: [0, 1], keepdims: 0 }) }),
    expected: [map(X, (x) => Math.min(x, 0.375))],
  },
  { op: 'Where', inputs: [P, N, M], build: (b, p, n, m) => b.where(p, n, m), expected: [int64([4], [7, -7, 5, 3])] },
  {
    op: 'Where',
    what: 'bool',
    inputs: [P, Q],
    build: (b, p, q) => [b.where(p, q, b.not(q)), b.where(p, q, 1)],
    expected: [bool([4], [1, 0, 0, 1]), bool([4], [1, 0, 1, 1])],
  },
  {
    op: 'Where',
    what: 'with a number',
    inputs: [P, POSITIVE],
    build: (b, p, x) => b.where(p, x, -1),
    expected: [float([4], [0.25, 1, -1, -1])],
  },
  {
    op: 'Cast',
    inputs: [X],
    build: (b, x) => b.cast(x, { to: 'int64' }),
    expected: [int64([2, 3], [-1, 0, 0, 0, 1, 2])],
  },
  {
    op: 'Cast',
    what: 'to bool',
    inputs: [X],
    build: (b, x) => b.cast(x, { to: 'bool' }),
    expected: [flags(X, (x) => x !== 0)],
  },
  { op: 'CastLike', inputs: [N, X], build: (b, n, x) => b.castLike(n, x), expected: [float([4], N.data)] },
  {
    op: 'Trilu',
    from: 14,
    inputs: [X],
    build: (b, x) => b.trilu(x, { k: 1, upper: 1 }),
    expected: [float([2, 3], [0, -0.5, 0, 0, 0, 2.5])],
  },
  {
    op: 'CumSum',
    from: 11,
    inputs: [N],
    build: (b, n) => [b.cumSum(n, { axis: 0 }), b.cumSum(n, { axis: 0, exclusive: 1, reverse: 1 })],
    expected: [int64([4], [7, 0, 0, 3]), int64([4], [-4, 3, 3, 0])],
  },
  {
    op: 'ConstantOfShape',
    inputs: [],
    build: (b) => [b.constantOfShape([2]), b.constantOfShape([2, 1], { value: numberTensor('int64', [1], [4]) })],
    expected: [float([2], [0, 0]), int64([2, 1], [4, 4])],
  },
]
