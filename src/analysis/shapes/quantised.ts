import { type Dim, int, isInt } from '../../ir/dim.ts'
import { type DType, dtypeName } from '../../ir/dtype.ts'
import { type Contents, contentsOf, countOf, listOf } from '../facts.ts'
import { dequantise as dequantised, quantise as quantised, quantisedRange } from '../quantisation.ts'
import { convDims, matmulDims } from './compute.ts'
import type { Context, ShapeRule } from './context.ts'

/** The type that an attribute `output_dtype` gives, where it is set. */
function outputType(context: Context): DType | undefined {
  const number = context.node.int('output_dtype', 0)
  return number === 0 ? undefined : dtypeName(number)
}

const dequantize: ShapeRule = (context) => {
  const contents = converted(context, dequantised)
  context.set(0, context.dims(0), outputType(context) ?? context.dtype(1) ?? 'float', contents)
}

const quantize: ShapeRule = (context) => {
  const dtype = context.dtype(2) ?? outputType(context) ?? 'uint8'
  const range = quantisedRange(dtype)
  const contents = range === null ? null : converted(context, (x, scale, zero) => quantised(x, scale, zero, range))
  context.set(0, context.dims(0), dtype, contents)
}

/** Plain numbers are followed through a conversion by one scale: a mask that hides nothing, say, is 0 after it too. */
function converted(context: Context, convert: (x: number, scale: number, zero: number) => number): Contents | null {
  const contents = context.contents(0)
  const scale = single(context, 1)
  const zero = context.node.input(2) === null ? 0 : single(context, 2)
  if (contents === null || scale === null || zero === null) return null
  const apply = (dim: Dim) => int(convert(dim.n, scale, zero))
  if (contents.kind === 'fill') return isInt(contents.value) ? { ...contents, value: apply(contents.value) } : null
  const items = listOf(contents)
  return countOf(contents) <= 64 && items.every(isInt) ? contentsOf(items.map(apply)) : null
}

function single(context: Context, slot: number): number | null {
  const [only, ...more] = context.list(slot) ?? []
  return only !== undefined && more.length === 0 && isInt(only) ? only.n : null
}

const dynamicQuantize: ShapeRule = (context) => {
  context.set(0, context.dims(0), 'uint8')
  context.set(1, [], 'float')
  context.set(2, [], 'uint8')
}

/** A matrix product of the operands in two slots. */
function product(slots: readonly [number, number], dtype: (context: Context) => DType | undefined): ShapeRule {
  return (context) => {
    const [a, b] = slots.map((slot) => context.dims(slot))
    const known = a !== null && a !== undefined && b !== null && b !== undefined
    context.set(0, known ? matmulDims(context, a, b, slots) : null, dtype(context))
  }
}

/** com.microsoft QGemm: a in slot 0, b in slot 3, each turned if an attribute says so; float where no output scale is given. */
const quantisedGemm: ShapeRule = (context) => {
  const turned = (slot: number, name: string) => {
    const dims = context.dims(slot)
    return dims !== null && context.node.int(name, 0) === 1 ? dims.toReversed() : dims
  }
  const [a, b] = [turned(0, 'transA'), turned(3, 'transB')]
  const dims = a === null || b === null ? null : matmulDims(context, a, b, [0, 3])
  context.set(0, dims, context.node.input(7) === null ? 'float' : context.dtype(8))
}

/** Weights of a few bits each, packed: [..., K] to [..., N], both lengths in the attributes. */
const packedProduct: ShapeRule = (context) => {
  const x = context.dims(0)
  const [inner, outer] = [context.node.int('K'), context.node.int('N')]
  const last = x?.at(-1)
  if (x === null || last === undefined || inner === undefined || outer === undefined) {
    return context.set(0, null, context.dtype(0))
  }
  context.unify(last, int(inner), 'packed MatMul contraction')
  context.set(0, [...x.slice(0, -1), int(outer)], context.dtype(0))
}

/** Shapes of operators that quantise, dequantise, or compute with quantised numbers. */
export const quantisedRules: Readonly<Record<string, ShapeRule>> = {
  DequantizeLinear: dequantize,
  QuantizeLinear: quantize,
  DynamicQuantizeLinear: dynamicQuantize,
  'com.microsoft:DequantizeLinear': dequantize,
  'com.microsoft:QuantizeLinear': quantize,
  ConvInteger: (context) => context.set(0, convDims(context, 1), 'int32'),
  QLinearConv: (context) => context.set(0, convDims(context, 3), context.dtype(7)),
  MatMulInteger: product([0, 1], () => 'int32'),
  QLinearMatMul: product([0, 3], (context) => context.dtype(7)),
  'com.microsoft:QGemm': quantisedGemm,
  'com.microsoft:MatMulIntegerToFloat': product([0, 1], (context) => context.dtype(2) ?? 'float'),
  'com.microsoft:DynamicQuantizeMatMul': product([0, 1], (context) => context.dtype(0)),
  'com.microsoft:MatMulNBits': packedProduct,
  'com.microsoft:MatMulBnb4': packedProduct,
}
