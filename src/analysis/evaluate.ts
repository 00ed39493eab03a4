import { VitpassError } from '../errors.ts'
import { isFloat, isInteger } from '../ir/dtype.ts'
import type { Node } from '../ir/node.ts'
import { elementCount, type Tensor } from '../ir/tensor.ts'
import { readFloats, readInts } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'
import { einsum, matmul } from './contract.ts'
import { decidedBranch, type Facts, listOf } from './facts.ts'
import { normalAxis } from './shapes/context.ts'
import { type Dense, permuted, rowMajor, StridedView, viewOf } from './strided.ts'

export type { Dense } from './strided.ts'

/** Elements at most: a position table of 4096 tokens by 4096 channels. */
const LIMIT = 1 << 24

/**
 * Computes a value that depends on no input's contents, at the sizes of the trace. It knows the operators that stand
 * between a stored table and its use: moves of data, casts and plain arithmetic.
 *
 * @param given values taken as they are instead of being computed
 * @throws VitpassError MODEL_UNSUPPORTED naming the first node that it does not know
 */
export function evaluate(value: Value, facts: Facts, given: ReadonlyMap<Value, Dense> = new Map()): Dense {
  const memo = new Map<Value, Dense>(given)
  const visit = (wanted: Value): Dense => {
    const known = memo.get(wanted)
    if (known !== undefined) return known
    const result = compute(wanted, facts, visit)
    memo.set(wanted, result)
    return result
  }
  return visit(value)
}

function compute(value: Value, facts: Facts, visit: (value: Value) => Dense): Dense {
  if (value.tensor !== null) return fromTensor(value.tensor)
  const contents = facts.contents(value)
  const dims = facts.dims(value)?.map((dim) => dim.n)
  const node = value.producer
  const stored = node?.is('Constant') ? node.tensor('value') : undefined
  if (stored !== undefined) return fromTensor(stored)
  if (contents !== null && dims !== undefined && elementCount(dims) <= LIMIT) {
    return { dims, data: Float64Array.from(listOf(contents), (dim) => dim.n) }
  }
  if (node === null) throw cannot(null, value, 'it is an input of the model')
  if (dims === undefined) throw cannot(node, value, 'its shape is not known')
  if (elementCount(dims) > LIMIT) throw cannot(node, value, 'it is too large')
  return evaluateNode(node, value, dims, facts, visit)
}

/** Elementwise operators that computed positions are made with, in double precision. */
const UNARY_MATH: Readonly<Record<string, (x: number) => number>> = {
  Cos: Math.cos,
  Sin: Math.sin,
  Exp: Math.exp,
  Log: Math.log,
  Sqrt: Math.sqrt,
  Neg: (x) => -x,
  Abs: Math.abs,
  Floor: Math.floor,
  Reciprocal: (x) => 1 / x,
}

const BINARY_MATH: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
  Min: Math.min,
  Max: Math.max,
}

function evaluateNode(
  node: Node,
  value: Value,
  dims: readonly number[],
  facts: Facts,
  visit: (value: Value) => Dense,
): Dense {
  const operand = (slot: number): Dense => {
    const input = node.input(slot)
    if (input === null) throw cannot(node, null, `input ${slot} is missing`)
    return visit(input)
  }
  const slot = 0
  if (node.domain !== '') throw cannot(node, null, `${node.domain}.${node.opType} is not evaluated`)
  const unary = UNARY_MATH[node.opType]
  if (unary !== undefined) return { dims, data: operand(slot).data.map(unary) }
  const binary = BINARY_MATH[node.opType]
  if (binary !== undefined) return truncated(zip(operand(0), operand(1), dims, binary), node, facts)
  switch (node.opType) {
    case 'Cast':
      return truncated({ dims, data: operand(slot).data }, node, facts)
    case 'Identity':
    case 'Dropout':
    case 'Reshape':
    case 'Squeeze':
    case 'Unsqueeze':
    case 'Flatten':
      return { dims, data: operand(slot).data }
    case 'Transpose':
      return transpose(operand(slot), node.ints('perm'))
    case 'Concat':
      return concat(
        node.inputs.map((_, i) => operand(i)),
        node.int('axis', 0),
        dims,
      )
    case 'Expand':
      return broadcastTo(operand(slot), dims)
    case 'Tile':
      return tile(operand(slot), dims)
    case 'Gather':
      return gather(operand(0), operand(1), node.int('axis', 0), dims)
    case 'Slice':
      return sliceOf(node, operand(0), facts, dims)
    case 'Split':
      return splitOf(node, operand(slot), value, facts)
    case 'Range': {
      const [start = 0, step = 1] = [operand(0).data[0], operand(2).data[0]]
      return { dims, data: Float64Array.from({ length: elementCount(dims) }, (_, i) => start + i * step) }
    }
    case 'Where': {
      const [condition, yes, no] = [operand(0), operand(1), operand(2)].map((x) => broadcastTo(x, dims).data)
      return { dims, data: Float64Array.from(condition ?? [], (c, i) => (c !== 0 ? yes : no)?.[i] ?? Number.NaN) }
    }
    case 'Einsum':
    case 'MatMul': {
      const operands = node.inputs.map((_, i) => operand(i))
      const [left, right] = operands
      const equation = node.string('equation', '')
      const made =
        left === undefined || right === undefined
          ? null
          : node.is('MatMul')
            ? matmul(left, right)
            : einsum(equation, operands)
      if (made === null) throw cannot(node, null, `this ${node.opType} is not evaluated`)
      return { dims, data: made.data }
    }
    case 'If': {
      const taken = decidedBranch(node, facts)?.outputs[node.outputs.indexOf(value)]
      if (taken === undefined) throw cannot(node, value, 'the branch that it takes is not known')
      return visit(taken)
    }
    case 'Resize': {
      const source = operand(slot)
      if (source.dims.join() === dims.join()) return source
      throw cannot(node, null, 'a Resize that changes the size is not evaluated')
    }
    default:
      throw cannot(node, null, `${node.opType} is not evaluated`)
  }
}

function cannot(node: Node | null, value: Value | null, why: string): VitpassError {
  const detail = node === null ? {} : { node: node.label }
  return new VitpassError(
    'MODEL_UNSUPPORTED',
    `${value?.name ?? 'a value'} cannot be computed beforehand: ${why}`,
    detail,
  )
}

function fromTensor(tensor: Tensor): Dense {
  if (isInteger(tensor.dtype)) return { dims: tensor.dims, data: Float64Array.from(readInts(tensor)) }
  if (!isFloat(tensor.dtype)) throw cannot(null, null, `${tensor.name} holds ${tensor.dtype}`)
  return { dims: tensor.dims, data: new Float64Array(readFloats(tensor)) }
}

function transpose(x: Dense, given: readonly number[] | undefined): Dense {
  return permuted(x, given ?? x.dims.map((_, i) => x.dims.length - 1 - i))
}

function broadcastTo(x: Dense, dims: readonly number[]): Dense {
  if (x.dims.join() === dims.join()) return x
  const { base, strides, offset } = viewOf(x)
  const shift = dims.length - x.dims.length
  const steps = dims.map((_, axis) => ((x.dims[axis - shift] ?? 1) === 1 ? 0 : (strides[axis - shift] ?? 0)))
  return new StridedView(base, dims, steps, offset)
}

/** Repeats an array along every axis, as often as its lengths go into the given ones. */
function tile(x: Dense, dims: readonly number[]): Dense {
  const own = rowMajor(x.dims)
  const data = new Float64Array(elementCount(dims))
  for (let i = 0; i < data.length; i += 1) {
    let rest = i
    let at = 0
    for (let axis = dims.length - 1; axis >= 0; axis -= 1) {
      const length = dims[axis] ?? 1
      at += ((rest % length) % (x.dims[axis] ?? 1)) * (own[axis] ?? 0)
      rest = Math.floor(rest / length)
    }
    data[i] = x.data[at] ?? Number.NaN
  }
  return { dims, data }
}

/** Integer results lose their fraction. */
function truncated(x: Dense, node: Node, facts: Facts): Dense {
  const dtype = facts.dtype(node.output(0))
  return dtype !== undefined && isInteger(dtype) ? { dims: x.dims, data: x.data.map(Math.trunc) } : x
}

function zip(a: Dense, b: Dense, dims: readonly number[], f: (a: number, b: number) => number): Dense {
  const left = broadcastTo(a, dims).data
  const right = broadcastTo(b, dims).data
  return { dims, data: left.map((x, i) => f(x, right[i] ?? Number.NaN)) }
}

function concat(parts: readonly Dense[], axisGiven: number, dims: readonly number[]): Dense {
  const axis = normalAxis(axisGiven, dims.length)
  const outer = elementCount(dims.slice(0, axis))
  const data = new Float64Array(elementCount(dims))
  let at = 0
  for (let block = 0; block < outer; block += 1) {
    for (const part of parts) {
      const size = elementCount(part.dims.slice(axis))
      data.set(part.data.subarray(block * size, (block + 1) * size), at)
      at += size
    }
  }
  return { dims, data }
}

function gather(x: Dense, indices: Dense, axisGiven: number, dims: readonly number[]): Dense {
  const axis = normalAxis(axisGiven, x.dims.length)
  const length = x.dims[axis] ?? 1
  const inner = elementCount(x.dims.slice(axis + 1))
  const outer = elementCount(x.dims.slice(0, axis))
  const data = new Float64Array(elementCount(dims))
  let at = 0
  for (let block = 0; block < outer; block += 1) {
    for (const raw of indices.data) {
      const from = (block * length + (raw < 0 ? raw + length : raw)) * inner
      data.set(x.data.subarray(from, from + inner), at)
      at += inner
    }
  }
  return { dims, data }
}

/** One part of a Split, where it begins along the axis. */
function splitOf(node: Node, x: Dense, value: Value, facts: Facts): Dense {
  const axis = normalAxis(node.int('axis', 0), x.dims.length)
  const { base, strides, offset } = viewOf(x)
  let start = 0
  for (const output of node.outputs) {
    const dims = facts.dims(output)?.map((dim) => dim.n)
    if (dims === undefined) throw cannot(node, value, 'the lengths of its parts are not known')
    if (output === value) return new StridedView(base, dims, strides, offset + start * (strides[axis] ?? 0))
    start += dims[axis] ?? 0
  }
  throw cannot(node, value, 'it is no part of the Split')
}

function sliceOf(node: Node, x: Dense, facts: Facts, dims: readonly number[]): Dense {
  const numbers = (slot: number, attribute: string) => {
    const contents = facts.contents(node.input(slot))
    return node.ints(attribute) ?? (contents === null ? undefined : listOf(contents).map((dim) => dim.n))
  }
  const starts = numbers(1, 'starts') ?? []
  const axes = numbers(3, 'axes') ?? starts.map((_, i) => i)
  const steps = numbers(4, 'steps') ?? starts.map(() => 1)
  const { base, strides: own, ...view } = viewOf(x)
  let { offset } = view
  const strides = [...own]
  for (const [i, given] of axes.entries()) {
    const axis = normalAxis(given, x.dims.length)
    const length = x.dims[axis] ?? 1
    const step = steps[i] ?? 1
    const raw = starts[i] ?? 0
    const start = Math.min(step > 0 ? length : length - 1, Math.max(0, raw < 0 ? raw + length : raw))
    offset += start * (own[axis] ?? 1)
    strides[axis] = (own[axis] ?? 1) * step
  }
  return new StridedView(base, dims, strides, offset)
}
