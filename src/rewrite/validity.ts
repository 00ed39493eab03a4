import { dependsOnSize, gridAxes, isTokenRow } from '../analysis/grid.ts'
import { SIZES_INPUT } from '../analysis/other-inputs.ts'
import type { Trace } from '../analysis/trace.ts'
import { VitpassError } from '../errors.ts'
import { type Dim, isInt, layoutKey, resolve, terms } from '../ir/dim.ts'
import type { FloatType } from '../ir/dtype.ts'
import type { Graph } from '../ir/graph.ts'
import type { Model } from '../ir/model.ts'
import { readProvenance, writeProvenance } from '../ir/provenance.ts'
import { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'

/** How the graph knows which patches belong to an image. */
export interface ValidityOptions {
  /** `pixels`: a patch counts where a pixel differs from `padValue` by more than `tol`. `sizes`: input `image_sizes`. */
  readonly source: 'pixels' | 'sizes'
  /** `rect`: all patches up to the last row and column that count. `patch`: each patch by itself. */
  readonly mode: 'rect' | 'patch'
  readonly padValue: number
  readonly tol: number
}

const DEFAULT_VALIDITY: ValidityOptions = { source: 'pixels', mode: 'rect', padValue: 0, tol: 0 }

const NAMES = { rows: 'vitpass/rows', cols: 'vitpass/cols', grid: 'vitpass/grid', keep: 'vitpass/keep' } as const

/**
 * The piece of graph that says what is image and what is padding: `vitpass/rows` and `vitpass/cols` ([batch] int64), each
 * image's own patch grid, and `vitpass/grid` ([batch, rows, cols] bool), the patches to be seen. It is built once and found
 * again by name.
 */
export class Validity {
  readonly rows: Value
  readonly cols: Value
  readonly grid: Value
  private readonly graph: Graph
  private readonly builder: Builder
  private readonly trace: Trace
  private readonly made = new Map<string, Value>()

  private constructor(graph: Graph, builder: Builder, trace: Trace, parts: { rows: Value; cols: Value; grid: Value }) {
    this.graph = graph
    this.builder = builder
    this.trace = trace
    this.rows = parts.rows
    this.cols = parts.cols
    this.grid = parts.grid
  }

  /**
   * Finds the validity that an earlier pass has built, or builds it. Without options any existing one will do.
   * @throws VitpassError PASS_REFUSED when the one that exists was built with other options, or where the grid is not known
   */
  static in(model: Model, trace: Trace, builder: Builder, wanted?: ValidityOptions): Validity {
    const named = new Map<string, Value>()
    for (const node of model.graph.nodes)
      for (const value of node.outputs) if (value !== null) named.set(value.name, value)
    const [rows, cols, grid] = [named.get(NAMES.rows), named.get(NAMES.cols), named.get(NAMES.grid)]
    if (rows !== undefined && cols !== undefined && grid !== undefined) {
      if (readProvenance(model).validity === undefined) {
        throw new VitpassError(
          'PASS_REFUSED',
          'the model tells padding apart already, but its metadata no longer say how',
          {
            remedy: 'start from the original model, or keep the metadata that vitpass wrote',
          },
        )
      }
      Validity.check(model, wanted)
      return new Validity(model.graph, builder, trace, { rows, cols, grid })
    }
    const options = wanted ?? (readProvenance(model).validity as ValidityOptions | undefined) ?? DEFAULT_VALIDITY
    const built = new Validity(model.graph, builder, trace, buildGrid(model, trace, builder, options))
    Validity.plan(model, options)
    return built
  }

  /** Notes the options for passes to come, where nothing has to be built yet. */
  static plan(model: Model, options: ValidityOptions): void {
    writeProvenance(model, { validity: { ...options } })
  }

  /** @throws VitpassError PASS_REFUSED when a validity exists that was built with other options */
  static check(model: Model, wanted: ValidityOptions | undefined): void {
    const { validity } = readProvenance(model)
    if (wanted === undefined || validity === undefined) return
    const differing = (Object.keys(wanted) as (keyof ValidityOptions)[]).filter((key) => validity[key] !== wanted[key])
    if (differing.length === 0) return
    throw new VitpassError(
      'PASS_REFUSED',
      `the model already tells padding apart with other options (${differing.join(', ')})`,
      {
        remedy: 'start from the original model and name all passes in one run',
      },
    )
  }

  /** [rows] int64: 0, 1, 2, ... along the padded grid's rows; `colIndex` along its columns. */
  get rowIndex(): Value {
    return this.once('rowIndex', () => gridIndex(this.trace, this.builder, 2))
  }

  get colIndex(): Value {
    return this.once('colIndex', () => gridIndex(this.trace, this.builder, 3))
  }

  /**
   * [batch, 1, height, width] bool: true for an image's own pixels, and not for padding. Only where sizes are given: told from pixels,
   * padding would be told from what it makes.
   * @throws VitpassError INTERNAL where they are not
   */
  get pixels(): Value {
    return this.once('pixels', () => {
      const { builder, graph, trace } = this
      const sizes = graph.inputs.find((input) => input.name === SIZES_INPUT)
      if (sizes === undefined) throw new VitpassError('INTERNAL', `there is no input ${SIZES_INPUT}`)
      const inside = (axis: 2 | 3): Value => {
        const own = builder.gather(sizes, builder.int64(axis - 2), { axis: 1 })
        const length = builder.squeeze(this.lengthOf(trace.patch.pixels, axis), { axes: [0] })
        const index = builder.range(builder.int64(0), length, builder.int64(1))
        return builder.less(index, builder.unsqueeze(own, { axes: [1] }))
      }
      return builder.and(builder.unsqueeze(inside(2), { axes: [1, 3] }), builder.unsqueeze(inside(3), { axes: [1, 2] }))
    })
  }

  /** [batch] bool: true for images that are there at all. */
  get present(): Value {
    return this.once('present', () => this.builder.greater(this.rows, this.builder.int64([0])))
  }

  /**
   * [batch, length] bool along an axis that tokens lie on: true for other tokens than patches and for the patches to be seen.
   * @throws VitpassError PASS_REFUSED for an axis that is no plain row of patches and other tokens around them
   */
  along(dim: Dim): Value {
    return this.once(`keep ${layoutKey(dim)}`, () => {
      const { builder } = this
      if (!isTokenRow(dim, this.trace)) {
        throw new VitpassError(
          'PASS_REFUSED',
          `axis ${layoutKey(dim)} is not a row of prefix tokens and patches in reading order`,
        )
      }
      const parts = terms(dim).map((term) =>
        isInt(term) ? this.always(term.n) : builder.reshape(this.grid, builder.int64([0, -1])),
      )
      const [first] = parts
      const keep = parts.length === 1 && first !== undefined ? first : builder.concat(parts, { axis: 1 })
      if (!this.made.has('named')) {
        this.made.set('named', keep)
        this.graph.rename(keep, NAMES.keep)
      }
      return keep
    })
  }

  /**
   * Bool, broadcast to a tensor with the given axes [batch, ...]: true for what belongs to an image, along every axis that
   * tokens lie on (a row of tokens, or rows and columns of the grid). An image that is all padding has nothing.
   */
  select(dims: readonly Dim[]): Value {
    const { builder } = this
    const rank = dims.length
    const place = (mask: Value, ...axes: readonly number[]): Value => {
      const free = axesBetween(rank, axes)
      return free.length === 0 ? mask : builder.unsqueeze(mask, { axes: free })
    }
    const [rowAxis, colAxis] = gridAxes(dims, this.trace)
    const masks = [place(this.present)]
    if (rowAxis >= 0 && colAxis >= 0) {
      const grid = rowAxis < colAxis ? this.grid : builder.transpose(this.grid, { perm: [0, 2, 1] })
      masks.push(place(grid, rowAxis, colAxis))
    }
    for (const [axis, dim] of dims.entries()) {
      if (axis > 0 && dependsOnSize(dim) && axis !== rowAxis && axis !== colAxis)
        masks.push(place(this.along(dim), axis))
    }
    return masks.reduce((a, b) => builder.and(a, b))
  }

  /**
   * What is added to attention scores before their softmax: 0 where a key is to be seen, a number that no score outweighs
   * where it is padding. Shaped for the scores' axes, 1 along all but batch and keys.
   *
   * @param dims axes of the scores; the batch may be merged with the heads, as in [batch*heads, query, key]
   * @param axis the key axis
   */
  bias(dims: readonly Dim[], axis: number, dtype: FloatType): Value {
    const key = dims[axis] as Dim
    const [leading] = dims
    const merged = resolve(leading as Dim).atoms.slice(1)
    const repeat = merged.reduce((n, atom) => n * atom.n, 1)
    return this.once(`bias ${layoutKey(key)} ${dims.length} ${axis} ${dtype} ${repeat}`, () => {
      const { builder } = this
      const [none, masked] = [builder.float(0, dtype), builder.float(MASKED[dtype], dtype)]
      const flat = builder.where(this.along(key), none, masked)
      const free = axesBetween(dims.length, [axis])
      if (repeat === 1) return builder.unsqueeze(flat, { axes: free })
      const each = builder.unsqueeze(flat, { axes: [1] })
      const tiled = builder.tile(each, builder.int64([1, repeat, 1]))
      const rows = builder.reshape(tiled, builder.concat([builder.int64([-1]), this.lengthOf(tiled, 2)], { axis: 0 }))
      return builder.unsqueeze(rows, { axes: free })
    })
  }

  private lengthOf(value: Value, axis: number): Value {
    return this.builder.gather(this.builder.shape(value), this.builder.int64([axis]), { axis: 0 })
  }

  private always(count: number): Value {
    const { builder } = this
    const batch = this.lengthOf(this.rows, 0)
    return builder.expand(builder.bool([true]), builder.concat([batch, builder.int64([count])], { axis: 0 }))
  }

  private once(key: string, make: () => Value): Value {
    const seen = this.made.get(key)
    if (seen !== undefined) return seen
    const value = make()
    this.made.set(key, value)
    return value
  }
}

/** True where `Validity.select` can say, for a tensor of such axes, which elements belong to an image. */
export function canSelect(dims: readonly Dim[], trace: Trace): boolean {
  const [first] = dims
  if (first === undefined || layoutKey(first) !== 'batch') return false
  const grid = gridAxes(dims, trace)
  return dims.every((dim, axis) => axis === 0 || !dependsOnSize(dim) || grid.includes(axis) || isTokenRow(dim, trace))
}

/**
 * The lowest finite value; in half precision half of it, so that a negative score added to it does not overflow to minus
 * infinity.
 */
export const MASKED = {
  float: -3.4028234663852886e38,
  double: -3.4028234663852886e38,
  float16: -32752,
  bfloat16: -1e38,
} as const

/** Axes to insert so that a tensor of the batch and the given axes broadcasts to `rank` axes, the batch first. */
function axesBetween(rank: number, given: readonly number[]): number[] {
  return Array.from({ length: rank }, (_, i) => i).filter((i) => i !== 0 && !given.includes(i))
}

function buildGrid(
  model: Model,
  trace: Trace,
  builder: Builder,
  options: ValidityOptions,
): { rows: Value; cols: Value; grid: Value } {
  const content = options.source === 'pixels' || options.mode === 'patch' ? contentOf(trace, builder, options) : null
  const rowIndex = gridIndex(trace, builder, 2)
  const colIndex = gridIndex(trace, builder, 3)
  const { rows, cols } =
    options.source === 'pixels' && content !== null
      ? { rows: lastWith(content, 1, rowIndex, builder), cols: lastWith(content, 2, colIndex, builder) }
      : fromSizes(model, trace, builder)
  model.graph.rename(rows, NAMES.rows)
  model.graph.rename(cols, NAMES.cols)
  const inRows = builder.less(rowIndex, builder.unsqueeze(rows, { axes: [1] }))
  const inCols = builder.less(colIndex, builder.unsqueeze(cols, { axes: [1] }))
  const rect = builder.and(builder.unsqueeze(inRows, { axes: [2] }), builder.unsqueeze(inCols, { axes: [1] }))
  const grid = options.mode === 'patch' && content !== null ? builder.and(rect, content) : rect
  model.graph.rename(grid, NAMES.grid)
  return { rows, cols, grid }
}

/** [batch, rows, cols] bool: patches with a pixel that is not padding. */
function contentOf(trace: Trace, builder: Builder, options: ValidityOptions): Value {
  const { patch, facts } = trace
  const dtype = facts.dtype(patch.pixels) ?? 'float'
  const isReal = dtype === 'float' || dtype === 'float16' || dtype === 'double'
  const pixels = isReal ? patch.pixels : builder.cast(patch.pixels, { to: 'float' })
  const real = isReal ? dtype : 'float'
  const shifted = options.padValue === 0 ? pixels : builder.sub(pixels, builder.float(options.padValue, real))
  // One axis after the other: a window of many pixels in both is several times slower in ONNX Runtime.
  const byRow = pool(builder, builder.abs(shifted), [patch.height, 1])
  const pooled = pool(builder, byRow, [1, patch.width])
  return builder.greater(builder.reduceMax(pooled, { axes: [1], keepdims: 0 }), builder.float(options.tol, real))
}

function pool(builder: Builder, pixels: Value, window: readonly number[]): Value {
  return builder.maxPool(pixels, { kernel_shape: window, strides: window })
}

/** [1] int64: the padded grid's length along an axis of the patch embedding's output. */
function gridLength(trace: Trace, builder: Builder, axis: 2 | 3): Value {
  return builder.gather(builder.shape(trace.patch.conv.output(0) as Value), builder.int64([axis]), { axis: 0 })
}

function gridIndex(trace: Trace, builder: Builder, axis: 2 | 3): Value {
  const length = builder.squeeze(gridLength(trace, builder, axis), { axes: [0] })
  return builder.range(builder.int64(0), length, builder.int64(1))
}

/** [batch] int64: one more than the last index along an axis of [batch, rows, cols] at which anything is true, or 0. */
function lastWith(content: Value, axis: 1 | 2, index: Value, builder: Builder): Value {
  const numbers = builder.cast(content, { to: 'float' })
  const any = builder.reduceMax(numbers, { axes: [3 - axis], keepdims: 0 })
  const counted = builder.mul(any, builder.cast(builder.add(index, builder.int64(1)), { to: 'float' }))
  return builder.cast(builder.reduceMax(counted, { axes: [1], keepdims: 0 }), { to: 'int64' })
}

/** Whole patches in each image's size, at most those of the padded grid; none at all where either length has none. */
function fromSizes(model: Model, trace: Trace, builder: Builder): { rows: Value; cols: Value } {
  const input = sizesInput(model, trace)
  const whole = (axis: number, patch: number, limit: Value): Value => {
    const pixels = builder.gather(input, builder.int64(axis), { axis: 1 })
    const patches = builder.div(pixels, builder.int64([patch]))
    return builder.max([builder.min([patches, limit]), builder.int64([0])])
  }
  const [rows, cols] = [
    whole(0, trace.patch.height, gridLength(trace, builder, 2)),
    whole(1, trace.patch.width, gridLength(trace, builder, 3)),
  ]
  const both = builder.cast(
    builder.and(builder.greater(rows, builder.int64([0])), builder.greater(cols, builder.int64([0]))),
    { to: 'int64' },
  )
  return { rows: builder.mul(rows, both), cols: builder.mul(cols, both) }
}

/** The input that `source: 'sizes'` asks for, added where it is not there yet. */
function sizesInput(model: Model, trace: Trace): Value {
  const { graph } = model
  const present = graph.inputs.find((input) => input.name === SIZES_INPUT)
  if (present !== undefined) {
    const { dtype, declaredDims } = present
    if (dtype === 'int64' && declaredDims?.length === 2 && readProvenance(model).validity !== undefined) return present
    throw new VitpassError('PASS_REFUSED', `the model already has an input named ${SIZES_INPUT}`, {
      remedy: 'rename that input, or use mask.source=pixels',
    })
  }
  const input = new Value(graph.freshName(SIZES_INPUT))
  input.type = { kind: 'tensor', dtype: 'int64', dims: [trace.patch.pixels.declaredDims?.[0] ?? 'batch', 2] }
  graph.addInput(input)
  return input
}
