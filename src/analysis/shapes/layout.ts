import { type Dim, int, isInt, product, roots, sizeKey, sum, sym, terms } from '../../ir/dim.ts'
import { type Contents, contentsOf, countOf, itemAt, listOf } from '../facts.ts'
import { type Context, normalAxis, type ShapeRule } from './context.ts'
import { broadcasts, reader } from './elementwise.ts'
import { batchPlacements, placementKey, reshapeDims } from './reshape.ts'

const reshape: ShapeRule = (context) => {
  const from = context.dims(0)
  const target = context.list(1)
  const dtype = context.dtype(0)
  const contents = context.contents(0)
  if (from === null || target === null) {
    context.set(0, null, dtype)
    return
  }
  const keepZero = context.node.int('allowzero', 0) === 1
  const sizes = target.map((dim, i) => (dim.n === 0 && !keepZero ? (from[i]?.n ?? 0) : dim.n))
  const total = from.reduce((n, dim) => n * dim.n, 1)
  const hole = sizes.indexOf(-1)
  if (hole >= 0) sizes[hole] = total / sizes.reduce((n, size, i) => (i === hole ? n : n * size), 1)
  if (sizes.reduce((n, size) => n * size, 1) !== total || sizes.some((size) => !Number.isInteger(size))) {
    context.disagree('impossible', product(...from), product(...sizes.map(int)), 'Reshape to another element count')
    context.set(
      0,
      target.map((dim, i) => (i === hole || dim.n < 0 ? int(Math.max(1, Math.floor(sizes[i] ?? 1))) : dim)),
      dtype,
    )
    return
  }
  const read = placeBatch(context, from, sizes)
  if (read === null) context.facts.split.push(context.node)
  const dims = read ?? target.map((dim, i) => (i === hole || isInt(dim) ? int(sizes[i] ?? 1) : dim))
  context.set(0, dims, dtype, contents)
}

/** The axes of a Reshape; a batch of one image stands where `Facts.placed` has it, or where reading order has it first. */
function placeBatch({ node, facts }: Context, from: readonly Dim[], sizes: readonly number[]): readonly Dim[] | null {
  const inOrder = reshapeDims(from, sizes)
  const layouts = batchPlacements(from, sizes, inOrder)
  const [first] = layouts
  if (layouts.length < 2 || first === undefined) return inOrder
  facts.placements.set(node, layouts)
  const wanted = facts.placed.get(node)
  return layouts.find((dims) => placementKey(dims) === wanted) ?? first
}

const flatten: ShapeRule = (context) => {
  const from = context.dims(0)
  if (from === null) return context.set(0, null, context.dtype(0))
  const axis = normalAxis(context.node.int('axis', 1), from.length)
  context.set(0, [product(...from.slice(0, axis)), product(...from.slice(axis))], context.dtype(0), context.contents(0))
}

const transpose: ShapeRule = (context) => {
  const from = context.dims(0)
  if (from === null) return context.set(0, null, context.dtype(0))
  const perm = context.node.ints('perm') ?? from.map((_, i) => from.length - 1 - i)
  const dims = perm.map((axis) => from[axis] ?? int(1))
  const contents = context.contents(0)
  context.set(0, dims, context.dtype(0), contents?.kind === 'fill' || from.length < 2 ? contents : null)
}

/** The axes of Squeeze and Unsqueeze, an attribute below opset 13 and an input from there on. */
function givenAxes(context: Context): number[] | null {
  return context.node.ints('axes') ?? (context.node.input(1) === null ? null : context.numbers(1))
}

const squeeze: ShapeRule = (context) => {
  const from = context.dims(0)
  if (from === null) return context.set(0, null, context.dtype(0))
  const axes = givenAxes(context)?.map((axis) => normalAxis(axis, from.length))
  const dims = from.filter((dim, i) => (axes === undefined ? dim.n !== 1 : !axes.includes(i)))
  context.set(0, dims, context.dtype(0), context.contents(0))
}

const unsqueeze: ShapeRule = (context) => {
  const from = context.dims(0)
  const axes = givenAxes(context)
  if (from === null || axes === null) return context.set(0, null, context.dtype(0))
  const rank = from.length + axes.length
  const at = new Set(axes.map((axis) => normalAxis(axis, rank)))
  const queue = [...from]
  const dims = Array.from({ length: rank }, (_, i) => (at.has(i) ? int(1) : (queue.shift() ?? int(1))))
  context.set(0, dims, context.dtype(0), context.contents(0))
}

const concat: ShapeRule = (context) => {
  const shapes = context.node.inputs.map((_, slot) => context.dims(slot))
  const first = shapes[0]
  const dtype = context.dtype(0)
  if (first === undefined || shapes.some((shape) => shape === null)) return context.set(0, null, dtype)
  const known = shapes as readonly (readonly Dim[])[]
  const rank = first?.length ?? 0
  const axis = normalAxis(context.node.int('axis', 0), rank)
  const dims = Array.from({ length: rank }, (_, i) => {
    if (i === axis) return sum(...known.map((shape) => shape[i] ?? int(0)))
    // Constants are told apart by slot, so compare every operand with the first symbolic one.
    const lead = Math.max(
      0,
      known.findIndex((shape) => !isInt(shape[i] ?? int(1))),
    )
    const anchor = known[lead]?.[i] ?? int(1)
    return known.reduce(
      (dim, shape, slot) => (slot === lead ? dim : context.unify(dim, shape[i] ?? int(1), 'Concat', [lead, slot], i)),
      anchor,
    )
  })
  const contents = context.node.inputs.map((_, slot) => context.contents(slot))
  const all =
    rank === 1 && contents.every((c) => c !== null) ? contentsOf((contents as Contents[]).flatMap(listOf)) : null
  context.set(0, dims, dtype, all)
}

/** The part of an axis from `start` to `end` (this trace's numbers), kept symbolic where it falls on the bounds of terms. */
function sliceDim(dim: Dim, start: number, end: number): Dim {
  if (start <= 0 && end >= dim.n) return dim
  const length = Math.max(0, Math.min(end, dim.n) - Math.max(0, start))
  const parts: Dim[] = []
  let at = 0
  for (const term of terms(dim)) {
    const from = Math.max(start, at)
    const to = Math.min(end, at + term.n)
    if (to > from) {
      if (isInt(term)) parts.push(int(to - from))
      else if (from === at && to === at + term.n) parts.push(term)
      else return isInt(dim) ? int(length) : sym(`slice(${sizeKey(dim)},${start},${end})`, length, roots(dim))
    }
    at += term.n
  }
  return parts.length === 0 ? int(0) : sum(...parts)
}

const slice: ShapeRule = (context) => {
  const { node, opset } = context
  const from = context.dims(0)
  const dtype = context.dtype(0)
  const starts = opset < 10 ? (node.ints('starts') ?? null) : context.numbers(1)
  const ends = opset < 10 ? (node.ints('ends') ?? null) : context.numbers(2)
  if (from === null || starts === null || ends === null) {
    return context.set(
      0,
      from?.map((dim) => (isInt(dim) ? dim : sym(`sliced(${node.label})`, dim.n, roots(dim)))) ?? null,
      dtype,
    )
  }
  const axes = (opset < 10 ? node.ints('axes') : context.numbers(3)) ?? starts.map((_, i) => i)
  const steps = (opset < 10 ? null : context.numbers(4)) ?? starts.map(() => 1)
  const dims = [...from]
  let contents = context.contents(0)
  for (const [i, given] of axes.entries()) {
    const axis = normalAxis(given, from.length)
    const dim = dims[axis] ?? int(1)
    const step = steps[i] ?? 1
    const clamp = (at: number, low: number, high: number) => Math.min(high, Math.max(low, at < 0 ? at + dim.n : at))
    if (step === 1) {
      const start = clamp(starts[i] ?? 0, 0, dim.n)
      const end = clamp(ends[i] ?? dim.n, 0, dim.n)
      dims[axis] = sliceDim(dim, start, end)
      if (contents !== null)
        contents = from.length === 1 ? contentsOf(listOf(contents).slice(start, end)) : keepFill(contents, dims)
      continue
    }
    const start = step > 0 ? clamp(starts[i] ?? 0, 0, dim.n) : clamp(starts[i] ?? 0, 0, dim.n - 1)
    const end = step > 0 ? clamp(ends[i] ?? 0, 0, dim.n) : clamp(ends[i] ?? 0, -1, dim.n - 1)
    const picked: number[] = []
    for (let at = start; step > 0 ? at < end : at > end; at += step) picked.push(at)
    const whole = step === -1 && picked.length === dim.n
    dims[axis] =
      whole || isInt(dim)
        ? whole
          ? dim
          : int(picked.length)
        : sym(`slice(${sizeKey(dim)},${start},${end},${step})`, picked.length, roots(dim))
    if (contents !== null) {
      const all: Contents = contents
      contents = from.length === 1 ? contentsOf(picked.map((at) => itemAt(all, at))) : keepFill(contents, dims)
    }
  }
  context.set(0, dims, dtype, contents)
}

function keepFill(contents: Contents, dims: readonly Dim[]): Contents | null {
  return contents.kind === 'fill' ? { ...contents, count: dims.reduce((n, dim) => n * dim.n, 1) } : null
}

const split: ShapeRule = (context) => {
  const { node } = context
  const from = context.dims(0)
  const dtype = context.dtype(0)
  if (from === null) {
    for (const slot of node.outputs.keys()) context.set(slot, null, dtype)
    return
  }
  const axis = normalAxis(node.int('axis', 0), from.length)
  const dim = from[axis] ?? int(1)
  const parts = node.outputs.length
  const even = Math.ceil(dim.n / parts)
  const sizes = node.ints('split') ?? context.numbers(1) ?? node.outputs.map((_, i) => Math.min(even, dim.n - i * even))
  const contents = from.length === 1 ? context.contents(0) : null
  let at = 0
  for (const [slot, size] of sizes.entries()) {
    const dims = from.map((other, i) => (i === axis ? sliceDim(dim, at, at + size) : other))
    context.set(slot, dims, dtype, contents === null ? null : contentsOf(listOf(contents).slice(at, at + size)))
    at += size
  }
}

const gather: ShapeRule = (context) => {
  const from = context.dims(0)
  const indices = context.dims(1)
  const dtype = context.dtype(0)
  if (from === null || indices === null) return context.set(0, null, dtype)
  const axis = normalAxis(context.node.int('axis', 0), from.length)
  const dims = [...from.slice(0, axis), ...indices, ...from.slice(axis + 1)]
  const contents = context.contents(0)
  const at = context.numbers(1)
  const items =
    contents !== null && at !== null && from.length === 1
      ? at.map((i) => itemAt(contents, Math.min(countOf(contents) - 1, Math.max(0, i < 0 ? i + countOf(contents) : i))))
      : null
  context.set(0, dims, dtype, items === null ? null : contentsOf(items))
}

const expand: ShapeRule = (context) => {
  const from = context.dims(0)
  const target = context.list(1)
  const dtype = context.dtype(0)
  if (from === null || target === null) return context.set(0, null, dtype)
  const rank = Math.max(from.length, target.length)
  const dims = Array.from({ length: rank }, (_, i) => {
    const has = from[i - rank + from.length] ?? int(1)
    const index = i - rank + target.length
    const want = target[index]
    if (want === undefined || (want.n === 1 && has.n !== 1)) return has
    if (has.n === 1 && isInt(want) && isInt(has)) return context.baked(1, index, want.n)
    if (has.n === 1) return isInt(want) && want.n === 1 ? has : want
    return isInt(want)
      ? context.unify(has, context.baked(1, index, want.n), 'Expand', [0, 1], i)
      : context.unify(has, want, 'Expand', [0, 1], i)
  })
  context.set(0, dims, dtype, spread(context.contents(0), from, dims))
}

function spread(contents: Contents | null, from: readonly Dim[], to: readonly Dim[]): Contents | null {
  if (contents === null) return null
  const count = to.reduce((n, dim) => n * dim.n, 1)
  if (contents.kind === 'fill' || countOf(contents) === 1) return { kind: 'fill', value: itemAt(contents, 0), count }
  if (count > 65536 || !broadcasts(from, to)) return null
  const read = reader(contents, from, to)
  return contentsOf(Array.from({ length: count }, (_, i) => read(i)))
}

const tile: ShapeRule = (context) => {
  const from = context.dims(0)
  const repeats = context.list(1)
  if (from === null || repeats === null) return context.set(0, null, context.dtype(0))
  const dims = from.map((dim, i) => {
    const by = repeats[i] ?? int(1)
    return product(isInt(by) && by.n !== 1 ? context.baked(1, i, by.n) : by, dim)
  })
  const contents = context.contents(0)
  context.set(
    0,
    dims,
    context.dtype(0),
    contents === null || from.length > 1
      ? contents && keepFill(contents, dims)
      : contentsOf(Array.from({ length: repeats[0]?.n ?? 1 }, () => listOf(contents)).flat()),
  )
}

const pad: ShapeRule = (context) => {
  const from = context.dims(0)
  const pads = context.opset < 11 ? (context.node.ints('pads') ?? null) : (context.list(1)?.map((dim) => dim.n) ?? null)
  const axes = context.node.input(3) === null ? null : context.numbers(3)
  if (from === null || pads === null) return context.set(0, null, context.dtype(0))
  const order = axes?.map((axis) => normalAxis(axis, from.length)) ?? from.map((_, i) => i)
  const dims = from.map((dim, axis) => {
    const at = order.indexOf(axis)
    const extra = at < 0 ? 0 : (pads[at] ?? 0) + (pads[at + order.length] ?? 0)
    if (extra === 0) return dim
    return isInt(dim)
      ? int(dim.n + extra)
      : sym(`padded(${sizeKey(dim)},${context.node.label})`, dim.n + extra, roots(dim))
  })
  context.set(0, dims, context.dtype(0))
}

export const layoutRules: Readonly<Record<string, ShapeRule>> = {
  Reshape: reshape,
  Flatten: flatten,
  Transpose: transpose,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Slice: slice,
  Split: split,
  Gather: gather,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  ScatterND: (context) => context.set(0, context.dims(0), context.dtype(0)),
  ScatterElements: (context) => context.set(0, context.dims(0), context.dtype(0)),
  GatherElements: (context) => context.set(0, context.dims(1), context.dtype(0)),
  CumSum: (context) => context.set(0, context.dims(0), context.dtype(0)),
  Trilu: (context) => context.set(0, context.dims(0), context.dtype(0)),
}
