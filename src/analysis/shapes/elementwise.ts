import { type Dim, int, isInt, resolve } from '../../ir/dim.ts'
import { type DType, dtypeName, isFloat } from '../../ir/dtype.ts'
import { ACTIVATIONS } from '../activations.ts'
import { type Contents, contentsOf, countOf, itemAt } from '../facts.ts'
import { BINARY, castScalar, chosen, UNARY } from '../scalar.ts'
import type { Context, ShapeRule } from './context.ts'

const PREDICATES = new Set([
  'Equal',
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'And',
  'Or',
  'Xor',
  'Not',
  'IsNaN',
  'IsInf',
])

/** True where every axis is 1 or as long as the output's: only then its elements can be read at the output's shape. */
export function broadcasts(from: readonly Dim[], to: readonly Dim[]): boolean {
  return from.every((dim, i) => dim.n === 1 || dim.n === to[i - from.length + to.length]?.n)
}

/** Elements of an operand seen at the output's shape. */
export function reader(contents: Contents, from: readonly Dim[], to: readonly Dim[]): (index: number) => Dim {
  if (contents.kind === 'fill' || countOf(contents) === 1) return () => resolve(itemAt(contents, 0))
  const shift = to.length - from.length
  const strides: number[] = []
  let stride = 1
  for (let axis = from.length - 1; axis >= 0; axis -= 1) {
    const n = from[axis]?.n ?? 1
    strides[axis] = n === 1 ? 0 : stride
    stride *= n
  }
  return (index) => {
    let rest = index
    let at = 0
    for (let axis = to.length - 1; axis >= 0; axis -= 1) {
      const n = to[axis]?.n ?? 1
      at += (rest % n) * (strides[axis - shift] ?? 0)
      rest = Math.floor(rest / n)
    }
    return resolve(itemAt(contents, at))
  }
}

/** Applies `f` to elements of the operands, broadcast; null where an operand is not followed. */
function combine(
  context: Context,
  slots: readonly number[],
  dims: readonly Dim[] | null,
  f: (...args: Dim[]) => Dim,
): Contents | null {
  if (dims === null) return null
  const count = dims.reduce((n, dim) => n * dim.n, 1)
  const readers: ((index: number) => Dim)[] = []
  let allFill = true
  for (const slot of slots) {
    const contents = context.contents(slot)
    const from = context.dims(slot)
    if (contents === null || from === null || !broadcasts(from, dims)) return null
    if (contents.kind !== 'fill' && countOf(contents) !== 1) allFill = false
    readers.push(reader(contents, from, dims))
  }
  if (allFill && count > 1) return { kind: 'fill', value: f(...readers.map((read) => read(0))), count }
  if (count > 65536) return null
  return contentsOf(Array.from({ length: count }, (_, index) => f(...readers.map((read) => read(index)))))
}

const binary: ShapeRule = (context) => {
  const dims = context.broadcast([context.dims(0), context.dims(1)])
  const dtype = context.dtype(0) ?? context.dtype(1)
  const scalar = BINARY[context.node.opType]
  const kind = dtype !== undefined && isFloat(dtype) ? 'float' : 'int'
  const contents = scalar === undefined ? null : combine(context, [0, 1], dims, (a, b) => scalar(a, b, kind))
  context.set(0, dims, PREDICATES.has(context.node.opType) ? 'bool' : dtype, contents)
}

const unary: ShapeRule = (context) => {
  const scalar = UNARY[context.node.opType]
  const dims = context.dims(0)
  const contents = scalar === undefined ? null : combine(context, [0], dims, scalar)
  context.set(0, dims, PREDICATES.has(context.node.opType) ? 'bool' : context.dtype(0), contents)
}

/** Min, Max, Sum, Mean: any number of operands. */
const variadic: ShapeRule = (context) => {
  const slots = context.node.inputs.map((_, slot) => slot)
  const dims = context.broadcast(slots.map((slot) => context.dims(slot)))
  const scalar = BINARY[context.node.opType === 'Sum' ? 'Add' : context.node.opType]
  const fold = (...args: Dim[]) => args.reduce((a, b) => (scalar === undefined ? a : scalar(a, b, 'int')))
  context.set(0, dims, context.dtype(0), scalar === undefined ? null : combine(context, slots, dims, fold))
}

const where: ShapeRule = (context) => {
  const dims = context.broadcast([context.dims(0), context.dims(1), context.dims(2)])
  const dtype = context.dtype(1) ?? context.dtype(2)
  const condition = context.contents(0)
  // With a condition that is the same everywhere only the chosen branch has to be followed.
  if (condition !== null && (condition.kind === 'fill' || countOf(condition) === 1)) {
    const only = itemAt(condition, 0)
    if (isInt(only))
      return context.set(
        0,
        dims,
        dtype,
        combine(context, [only.n !== 0 ? 1 : 2], dims, (a) => a),
      )
  }
  context.set(0, dims, dtype, combine(context, [0, 1, 2], dims, chosen))
}

const cast: ShapeRule = (context) => {
  const to: DType | undefined =
    context.node.opType === 'CastLike' ? context.dtype(1) : dtypeName(context.node.int('to', 0))
  const dims = context.dims(0)
  if (to === undefined) return context.set(0, dims)
  const kind = to === 'bool' ? 'bool' : isFloat(to) ? 'float' : 'int'
  context.set(
    0,
    dims,
    to,
    combine(context, [0], dims, (a) => castScalar(a, kind)),
  )
}

const passThrough: ShapeRule = (context) => {
  context.set(0, context.dims(0), context.dtype(0), context.contents(0))
  if (context.node.output(1) !== null) context.set(1, context.dims(0), 'bool', fillOfOnes(context.dims(0)))
}

function fillOfOnes(dims: readonly Dim[] | null): Contents | null {
  return dims === null ? null : { kind: 'fill', value: int(1), count: dims.reduce((n, dim) => n * dim.n, 1) }
}

const SAME_SHAPE = [
  ...ACTIVATIONS,
  'Softmax',
  'LogSoftmax',
  'Hardmax',
  'LpNormalization',
  'MeanVarianceNormalization',
  'BitwiseNot',
]

export const elementwiseRules: Readonly<Record<string, ShapeRule>> = {
  ...Object.fromEntries(SAME_SHAPE.map((op) => [op, unary])),
  ...Object.fromEntries(Object.keys(UNARY).map((op) => [op, unary])),
  ...Object.fromEntries(Object.keys(BINARY).map((op) => [op, binary])),
  PRelu: binary,
  BitShift: binary,
  Min: variadic,
  Max: variadic,
  Sum: variadic,
  Mean: variadic,
  Where: where,
  Cast: cast,
  CastLike: cast,
  Identity: passThrough,
  Dropout: passThrough,
}
