import { type Dim, floorDiv, int, isInt, plus, product, roots, sizeKey, sym, symbols } from '../../ir/dim.ts'
import type { DType } from '../../ir/dtype.ts'
import { contentsOf, countOf, listOf } from '../facts.ts'
import { BINARY } from '../scalar.ts'
import { type Context, normalAxis, type ShapeRule } from './context.ts'

/** `floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1`, as ONNX defines Conv and pooling. */
function windowed(size: Dim, kernel: number, stride: number, dilation: number, pads: number, ceil = false): Dim {
  const span = dilation * (kernel - 1) + 1
  const extra = pads - span + (ceil ? stride - 1 : 0)
  const n = Math.floor((size.n + extra) / stride) + 1
  const counted = plus(floorDiv(plus(size, extra), stride), 1)
  const id = `windows(${sizeKey(size)},${kernel},${stride},${dilation},${pads},${ceil})`
  return counted.n === n ? counted : sym(id, n, roots(size))
}

function spatial(context: Context, kernel: readonly number[], size: readonly Dim[]): Dim[] {
  const { node } = context
  const strides = node.ints('strides') ?? kernel.map(() => 1)
  const dilations = node.ints('dilations') ?? kernel.map(() => 1)
  const pads = node.ints('pads') ?? kernel.flatMap(() => [0, 0])
  const auto = node.string('auto_pad', 'NOTSET')
  const ceil = node.int('ceil_mode', 0) === 1
  return size.map((dim, i) => {
    const stride = strides[i] ?? 1
    if (auto.startsWith('SAME')) return floorDiv(plus(dim, stride - 1), stride)
    const total = auto === 'VALID' ? 0 : (pads[i] ?? 0) + (pads[i + kernel.length] ?? 0)
    return windowed(dim, kernel[i] ?? 1, stride, dilations[i] ?? 1, total, ceil)
  })
}

/** [batch, out channels, ...spatial] of an image convolved by weights that stand in slot `weights`. */
export function convDims(context: Context, weights: number): readonly Dim[] | null {
  const x = context.dims(0)
  const w = context.dims(weights)
  if (x === null || w === null) return null
  const channels = w[1]
  if (channels !== undefined && x[1] !== undefined && !isInt(channels)) context.unify(x[1], channels, 'Conv channels')
  const kernel = w.slice(2).map((dim) => dim.n)
  return [x[0] ?? int(1), w[0] ?? int(1), ...spatial(context, kernel, x.slice(2))]
}

const conv: ShapeRule = (context) => context.set(0, convDims(context, 1), context.dtype(0))

const pool: ShapeRule = (context) => {
  const x = context.dims(0)
  const kernel = context.node.ints('kernel_shape')
  if (x === null || kernel === undefined) return context.set(0, null, context.dtype(0))
  context.set(0, [...x.slice(0, 2), ...spatial(context, kernel, x.slice(2))], context.dtype(0))
}

const globalPool: ShapeRule = (context) => {
  context.set(0, context.dims(0)?.map((dim, i) => (i < 2 ? dim : int(1))) ?? null, context.dtype(0))
}

export function matmulDims(
  context: Context,
  a: readonly Dim[],
  b: readonly Dim[],
  slots: readonly [number, number] = [0, 1],
): Dim[] {
  const left = a.length === 1 ? [int(1), ...a] : [...a]
  const right = b.length === 1 ? [...b, int(1)] : [...b]
  context.unify(left.at(-1) ?? int(1), right.at(-2) ?? int(1), 'MatMul contraction', slots)
  const lead = context.broadcast([left.slice(0, -2), right.slice(0, -2)]) ?? []
  return [
    ...lead,
    ...(a.length === 1 ? [] : [left.at(-2) ?? int(1)]),
    ...(b.length === 1 ? [] : [right.at(-1) ?? int(1)]),
  ]
}

const matmul: ShapeRule = (context) => {
  const a = context.dims(0)
  const b = context.dims(1)
  context.set(0, a === null || b === null ? null : matmulDims(context, a, b), context.dtype(0))
}

function swapLast(dims: readonly Dim[]): Dim[] {
  const [x, y] = dims.slice(-2)
  return x === undefined || y === undefined ? [...dims] : [...dims.slice(0, -2), y, x]
}

/**
 * The operand of a FusedMatMul as a stack of matrices. With `transBatch` its batch axes stand behind its rows, as [rows, batch, cols], and
 * with `trans` each matrix is turned after that.
 */
function matrices(dims: readonly Dim[], transBatch: boolean, trans: boolean): readonly Dim[] {
  const [rows, ...rest] = dims
  const stacked = transBatch && rows !== undefined ? [...rest.slice(0, -1), rows, ...rest.slice(-1)] : dims
  return trans ? swapLast(stacked) : stacked
}

const fusedMatMul: ShapeRule = (context) => {
  const { node } = context
  const a = context.dims(0)
  const b = context.dims(1)
  if (a === null || b === null) return context.set(0, null, context.dtype(0))
  const left = matrices(a, node.int('transBatchA', 0) === 1, node.int('transA', 0) === 1)
  const right = matrices(b, node.int('transBatchB', 0) === 1, node.int('transB', 0) === 1)
  context.set(0, matmulDims(context, left, right), context.dtype(0))
}

const gemm: ShapeRule = (context) => {
  const { node } = context
  const a = context.dims(0)
  const b = context.dims(1)
  if (a === null || b === null) return context.set(0, null, context.dtype(0))
  const left = node.int('transA', 0) === 1 ? swapLast(a) : a
  const right = node.int('transB', 0) === 1 ? swapLast(b) : b
  context.set(0, matmulDims(context, left, right), context.dtype(0))
}

const einsum: ShapeRule = (context) => {
  const [inputs, output] = context.node.string('equation', '').replaceAll(' ', '').split('->')
  const named = new Map<string, Dim>()
  const specs = inputs?.split(',') ?? []
  for (const [slot, spec] of specs.entries()) {
    const dims = context.dims(slot)
    if (dims === null || spec.includes('.') || dims.length !== spec.length)
      return context.set(0, null, context.dtype(0))
    for (const [i, letter] of [...spec].entries()) {
      const dim = dims[i] ?? int(1)
      const seen = named.get(letter)
      named.set(letter, seen === undefined ? dim : context.unify(seen, dim, 'Einsum', [0, slot]))
    }
  }
  if (output === undefined) return context.set(0, null, context.dtype(0))
  context.set(
    0,
    [...output].map((letter) => named.get(letter) ?? int(1)),
    context.dtype(0),
  )
}

/** LayerNormalization, SkipLayerNormalization and their like: the first output has the first input's shape. */
const normalise: ShapeRule = (context) => {
  const x = context.dims(0)
  context.set(0, x, context.dtype(0))
  for (let slot = 1; slot < context.node.outputs.length; slot += 1) {
    context.set(
      slot,
      slot === 3 ? x : (x?.map((dim, i) => (i === x.length - 1 ? int(1) : dim)) ?? null),
      slot === 3 ? context.dtype(0) : 'float',
    )
  }
}

const skipNormalise: ShapeRule = (context) => {
  const dims = context.broadcast([context.dims(0), context.dims(1)])
  for (const slot of context.node.outputs.keys())
    context.set(slot, slot === 1 || slot === 2 ? null : dims, context.dtype(0))
}

const reduce: ShapeRule = (context) => {
  const { node } = context
  const x = context.dims(0)
  const dtype: DType | undefined = node.is('ArgMax', 'ArgMin') ? 'int64' : context.dtype(0)
  if (x === null) return context.set(0, null, dtype)
  const single = node.is('ArgMax', 'ArgMin') ? [node.int('axis', 0)] : null
  const given = single ?? node.ints('axes') ?? (node.input(1) === null ? undefined : (context.numbers(1) ?? undefined))
  const none = node.int('noop_with_empty_axes', 0) === 1
  const axes =
    given === undefined || given.length === 0
      ? none
        ? []
        : x.map((_, i) => i)
      : given.map((axis) => normalAxis(axis, x.length))
  const keep = node.int('keepdims', 1) === 1
  const dims = x.flatMap((dim, i) => (axes.includes(i) ? (keep ? [int(1)] : []) : [dim]))
  const scalar = { ReduceProd: 'Mul', ReduceSum: 'Add', ReduceMax: 'Max', ReduceMin: 'Min' }[node.opType]
  const fold = scalar === undefined ? undefined : BINARY[scalar]
  const contents = context.contents(0)
  const whole = axes.length === x.length && contents !== null && fold !== undefined && countOf(contents) <= 64
  const total = whole ? listOf(contents).reduce((a, b) => fold(a, b, 'int')) : undefined
  context.set(0, dims, dtype, total === undefined ? null : contentsOf([total]))
}

const resize: ShapeRule = (context) => {
  const { node, opset } = context
  const x = context.dims(0)
  if (x === null) return context.set(0, null, context.dtype(0))
  const sizes = node.input(3) === null ? null : context.list(3)
  const scales = context.list(opset < 11 ? 1 : 2)
  const axes = node.ints('axes')?.map((axis) => normalAxis(axis, x.length)) ?? x.map((_, i) => i)
  const dims = x.map((dim, axis) => {
    const at = axes.indexOf(axis)
    const size = sizes?.[at]
    if (size !== undefined) return isInt(size) ? (size.n === dim.n ? dim : context.baked(3, at, size.n)) : size
    const scale = scales?.[at]
    if (scale === undefined || (isInt(scale) && scale.n === 1)) return dim
    const n = Math.floor(dim.n * scale.n + 1e-6)
    if (!isInt(dim) && isInt(scale) && Number.isInteger(scale.n)) return product(dim, scale)
    return isInt(scale) && isInt(dim)
      ? context.baked(opset < 11 ? 1 : 2, at, n)
      : sym(`scaled(${sizeKey(dim)},${sizeKey(scale)})`, n, roots(dim, scale))
  })
  context.set(0, sizes === null && scales === null ? null : dims, context.dtype(0))
}

const topK: ShapeRule = (context) => {
  const x = context.dims(0)
  const k = context.list(1)?.[0]
  const axis = normalAxis(context.node.int('axis', -1), x?.length ?? 0)
  const dims = x === null || k === undefined ? null : x.map((dim, i) => (i === axis ? k : dim))
  context.set(0, dims, context.dtype(0))
  context.set(1, dims, 'int64')
}

const shape: ShapeRule = (context) => {
  const x = context.dims(0)
  if (x === null) return context.set(0, null, 'int64')
  const start = normalAxis(context.node.int('start', 0), x.length)
  const end = normalAxis(context.node.int('end', x.length), x.length)
  const part = x.slice(Math.max(0, start), Math.max(0, end))
  context.set(0, [int(part.length)], 'int64', { kind: 'list', items: part })
}

const size: ShapeRule = (context) => {
  const x = context.dims(0)
  context.set(0, [], 'int64', x === null ? null : { kind: 'list', items: [product(...x)] })
}

/** True for sizes and what integer arithmetic makes of them; a quotient of floats may be whole in one trace only. */
function isWhole(dim: Dim): boolean {
  return Number.isInteger(dim.n) && [...symbols(dim)].every((id) => !/(fdiv|pow|sqrt|where)\(/.test(id))
}

const range: ShapeRule = (context) => {
  const [start, limit, delta] = [context.list(0)?.[0], context.list(1)?.[0], context.list(2)?.[0]]
  const dtype = context.dtype(0)
  if (start === undefined || limit === undefined || delta === undefined) {
    return context.set(0, [sym(`range(${context.node.label})`, 1)], dtype)
  }
  const count = Math.max(0, Math.ceil((limit.n - start.n) / delta.n))
  // A start between 0 and 1, such as the middle of the first patch, leaves as many steps as a start at 0 where the limit is whole.
  const fromStart = isInt(start) && (start.n === 0 || (start.n > 0 && start.n < 1 && isWhole(limit)))
  const plain = fromStart && delta.n === 1 && isInt(delta)
  const dim = !plain
    ? sym(`range(${sizeKey(start)},${sizeKey(limit)},${sizeKey(delta)})`, count, roots(start, limit, delta))
    : isInt(limit)
      ? context.baked(1, 0, count)
      : limit
  const all = [start, limit, delta].every(isInt)
  const items = count > 16384 ? null : Array.from({ length: count }, (_, i) => int(start.n + i * delta.n))
  context.set(0, [all && !plain ? int(count) : dim], dtype, items === null ? null : contentsOf(items))
}

const constantOfShape: ShapeRule = (context) => {
  const target = context.list(0)
  const tensor = context.node.tensor('value')
  const dtype = tensor?.dtype ?? 'float'
  if (target === null) return context.set(0, null, dtype)
  const dims = target.map((dim, i) => (isInt(dim) && dim.n > 0 ? context.baked(0, i, dim.n) : dim))
  const contents = context.fact(0)?.contents ?? null
  const fill =
    tensor === undefined ? 0 : smallScalar(tensor.storage.kind === 'raw' ? tensor.storage.bytes : null, dtype)
  const count = dims.reduce((n, dim) => n * dim.n, 1)
  context.set(0, dims, dtype, contents === null || fill === null ? null : { kind: 'fill', value: int(fill), count })
}

/** The one element of a ConstantOfShape's `value`. */
function smallScalar(bytes: Uint8Array | null, dtype: DType): number | null {
  if (bytes === null || bytes.length === 0) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (dtype === 'int64') return Number(view.getBigInt64(0, true))
  if (dtype === 'int32') return view.getInt32(0, true)
  if (dtype === 'float') return view.getFloat32(0, true)
  if (dtype === 'bool') return view.getUint8(0)
  return null
}

/** The last two axes of an attention mask are those of the scores, unless they are broadcast. */
function maskAxes(context: Context, slot: number, queries: Dim | undefined, keys: Dim | undefined): void {
  const mask = context.dims(slot)
  const [rows, cols] = mask?.slice(-2) ?? []
  if (rows === undefined || cols === undefined || queries === undefined || keys === undefined) return
  if (rows.n !== 1) context.unify(queries, rows, 'attention mask', [0, slot], 2)
  if (cols.n !== 1) context.unify(keys, cols, 'attention mask', [1, slot], 3)
}

/** ai.onnx Attention (opset 23): 4-D [batch, heads, q, d], or 3-D [batch, q, heads * d] with head counts as attributes. */
const attention: ShapeRule = (context) => {
  const q = context.dims(0)
  const v = context.dims(2)
  const { node } = context
  const dtype = context.dtype(0)
  if (q === null || v === null) return context.set(0, null, dtype)
  const depth = v.at(-1) ?? int(1)
  maskAxes(context, 3, q.at(-2), context.dims(1)?.at(-2))
  const batch = context.unify(q[0] ?? int(1), context.dims(1)?.[0] ?? q[0] ?? int(1), 'attention', [0, 1], 0)
  if (q.length === 4) context.set(0, [batch, ...q.slice(1, 3), depth], dtype)
  else {
    const perHead = floorDiv(depth, node.int('kv_num_heads', 1))
    context.set(0, [batch, q[1] ?? int(1), product(int(node.int('q_num_heads', 1)), perHead)], dtype)
  }
}

/** com.microsoft MultiHeadAttention: q [batch, q, heads * d], v [batch, k, heads * dv], or packed, or v [batch, heads, k, dv]. */
const multiHeadAttention: ShapeRule = (context) => {
  const q = context.dims(0)
  const v = context.dims(2)
  const heads = int(context.node.int('num_heads', 1))
  const [batch = int(1), queries = int(1)] = q ?? []
  if (q?.length === 5) {
    maskAxes(context, 5, queries, queries)
    return context.set(0, [batch, queries, product(heads, q[4] ?? int(1))], context.dtype(0))
  }
  if (q?.length === 3 && context.dims(1)?.length === 5) return context.set(0, q, context.dtype(0))
  if (q?.length === 3 && v?.length === 4) {
    return context.set(0, [batch, queries, product(heads, v[3] ?? int(1))], context.dtype(0))
  }
  if (q?.length !== 3 || v?.length !== 3) return context.set(0, null, context.dtype(0))
  maskAxes(context, 5, q[1], v[1])
  context.set(0, [q[0] ?? int(1), q[1] ?? int(1), v[2] ?? int(1)], context.dtype(0))
}

/** com.microsoft Attention: x [batch, tokens, in], weights [in, 3 * hidden]. */
const packedAttention: ShapeRule = (context) => {
  const x = context.dims(0)
  const w = context.dims(1)
  if (x === null || w === null) return context.set(0, null, context.dtype(0))
  maskAxes(context, 5, x[1], x[1])
  const sizes = context.node.ints('qkv_hidden_sizes')
  const hidden = sizes?.[2] === undefined ? floorDiv(w[1] ?? int(1), 3) : int(sizes[2])
  context.set(0, [x[0] ?? int(1), x[1] ?? int(1), hidden], context.dtype(0))
}

const same: ShapeRule = (context) => context.set(0, context.dims(0), context.dtype(0))

const REDUCTIONS = ['Mean', 'Sum', 'Max', 'Min', 'Prod', 'L1', 'L2', 'LogSum', 'LogSumExp', 'SumSquare'].map(
  (name) => `Reduce${name}`,
)

export const computeRules: Readonly<Record<string, ShapeRule>> = {
  ...Object.fromEntries([...REDUCTIONS, 'ArgMax', 'ArgMin'].map((op) => [op, reduce])),
  Conv: conv,
  MaxPool: pool,
  AveragePool: pool,
  LpPool: pool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  MatMul: matmul,
  Gemm: gemm,
  Einsum: einsum,
  LayerNormalization: normalise,
  RMSNormalization: same,
  BatchNormalization: same,
  InstanceNormalization: same,
  GroupNormalization: same,
  Resize: resize,
  Shape: shape,
  TopK: topK,
  Size: size,
  Range: range,
  ConstantOfShape: constantOfShape,
  Attention: attention,
  'com.microsoft:FusedMatMul': fusedMatMul,
  'com.microsoft:FusedGemm': gemm,
  'com.microsoft:FusedConv': conv,
  'com.microsoft:Attention': packedAttention,
  'com.microsoft:MultiHeadAttention': multiHeadAttention,
  'com.microsoft:SkipLayerNormalization': skipNormalise,
  'com.microsoft:BiasGelu': same,
  'com.microsoft:FastGelu': same,
  'com.microsoft:Gelu': same,
  'com.microsoft:QuickGelu': same,
}
