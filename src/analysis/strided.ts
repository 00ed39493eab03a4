import { elementCount } from '../ir/tensor.ts'

/** A dense array in row-major order. Doubles hold every float and every index exactly. */
export interface Dense {
  readonly dims: readonly number[]
  readonly data: Float64Array
}

/**
 * An array that reads another through strides: a transposed, sliced or repeated one. Its elements are laid out when they are first asked
 * for, and not at all where they already lie in order.
 */
export class StridedView implements Dense {
  readonly dims: readonly number[]
  readonly strides: readonly number[]
  readonly base: Float64Array
  readonly offset: number
  private laidOut: Float64Array | undefined

  /** @param strides elements of `base` from one index to the next, for each axis */
  constructor(base: Float64Array, dims: readonly number[], strides: readonly number[], offset = 0) {
    this.base = base
    this.dims = dims
    this.strides = strides
    this.offset = offset
  }

  get data(): Float64Array {
    this.laidOut ??= layOut(this)
    return this.laidOut
  }
}

/** Any array as a view: itself where it is one. */
export function viewOf(x: Dense): StridedView {
  return x instanceof StridedView ? x : new StridedView(x.data, x.dims, rowMajor(x.dims))
}

/** The axes of an array in another order. */
export function permuted(x: Dense, order: readonly number[]): StridedView {
  const { base, dims, strides, offset } = viewOf(x)
  const pick = (of: readonly number[], otherwise: number) => order.map((axis) => of[axis] ?? otherwise)
  return new StridedView(base, pick(dims, 1), pick(strides, 0), offset)
}

/** Steps of an array that lies in row-major order. */
export function rowMajor(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1)
  for (let axis = dims.length - 2; axis >= 0; axis -= 1)
    strides[axis] = (strides[axis + 1] ?? 1) * (dims[axis + 1] ?? 1)
  return strides
}

function layOut({ base, dims, strides, offset }: StridedView): Float64Array {
  const count = elementCount(dims)
  // Axes from `inner` on lie in order in the base: they are copied as one run.
  let inner = dims.length
  let run = 1
  for (; inner > 0 && (dims[inner - 1] === 1 || strides[inner - 1] === run); inner -= 1) run *= dims[inner - 1] ?? 1
  if (inner === 0) return base.subarray(offset, offset + count)

  const data = new Float64Array(count)
  const outer = run === 1 ? inner - 1 : inner
  const step = run === 1 ? (strides[outer] ?? 0) : 0
  const length = run === 1 ? (dims[outer] ?? 1) : 1
  const index = dims.map(() => 0)
  let from = offset
  for (let to = 0; to < count; ) {
    if (run > 1) {
      data.set(base.subarray(from, from + run), to)
      to += run
    } else {
      let at = from
      for (let i = 0; i < length; i += 1) {
        data[to] = base[at] ?? Number.NaN
        to += 1
        at += step
      }
    }
    for (let axis = outer - 1; axis >= 0; axis -= 1) {
      const next = (index[axis] ?? 0) + 1
      from += strides[axis] ?? 0
      if (next < (dims[axis] ?? 1)) {
        index[axis] = next
        break
      }
      from -= next * (strides[axis] ?? 0)
      index[axis] = 0
    }
  }
  return data
}
