import { type Anatomy, readAnatomy } from '../analysis/anatomy.ts'
import { dependsOnSize, isPatchRow, isTokenRow } from '../analysis/grid.ts'
import { callerInputs, findPatchEmbedding } from '../analysis/pixels.ts'
import { type Trace, trace } from '../analysis/trace.ts'
import { channelsOf } from '../analysis/weights.ts'
import { VitpassError } from '../errors.ts'
import { type Dim, isInt, layoutKey, terms } from '../ir/dim.ts'
import type { Model } from '../ir/model.ts'
import type { Value } from '../ir/value.ts'
import type { Size } from '../runtime/image.ts'
import type { Axis, Layout } from './layout.ts'
import { type Grid, gridOf } from './padded.ts'
import type { Precision } from './report.ts'

/** What verification has to know of a model before it runs it. */
export interface ModelFacts {
  readonly patch: Size
  readonly channels: number
  /** The batch that it takes, where it takes one only. */
  readonly batch: number | null
  /** Grids on which it has a position table of its own, or that it was exported for; null where the graph does not show one. */
  readonly native: Grid | null
  /** Names of inputs that the caller must give. */
  readonly inputs: readonly string[]
  /** Axes of every output, without the batch; a text where they do not follow the patch grid. */
  readonly layouts: ReadonlyMap<string, Layout | string>
  readonly precision: Precision
  /** Why images of this size cannot be given to it, or would not get the right positions; null where they can. */
  refuses(size: Size): string | null
}

/**
 * Reads what verification needs off a model's graph.
 * @throws VitpassError MODEL_UNSUPPORTED where there is no image input or no patch embedding
 */
export function readModelFacts(model: Model): ModelFacts {
  const patch = findPatchEmbedding(model)
  const { anatomy, traced } = attempt(model)
  const [batch, channels, height, width] = patch.pixels.declaredDims ?? []
  const fixed = { height: numberOf(height), width: numberOf(width) }
  const size = { height: patch.height, width: patch.width }
  const fit = anatomy === null || traced === null ? null : onlyGrid(anatomy, traced)
  return {
    patch: size,
    channels: numberOf(channels) ?? channelsOf(patch.conv) ?? 3,
    batch: numberOf(batch),
    native: nativeGrid(fixed, size, anatomy, traced),
    inputs: callerInputs(model).map(({ name }) => name),
    layouts: new Map(
      model.graph.outputs.map((output) => [output.name, layoutOf(traced?.facts.dims(output) ?? null, traced)]),
    ),
    precision: precisionOf(model),
    refuses: (image) => {
      if ((fixed.height ?? image.height) !== image.height || (fixed.width ?? image.width) !== image.width)
        return `takes images of ${fixed.height ?? 'any'}x${fixed.width ?? 'any'} only`
      if (anatomy?.baked.tied === true && image.height !== image.width) return 'takes square images only'
      const grid = gridOf(image, size)
      if (fit !== null && (grid.rows !== fit.rows || grid.cols !== fit.cols))
        return `has positions for a grid of ${fit.rows}x${fit.cols} patches only`
      return null
    },
  }
}

function attempt(model: Model): { anatomy: Anatomy | null; traced: Trace | null } {
  try {
    return { anatomy: readAnatomy(model), traced: trace(model) }
  } catch (error) {
    if (!(error instanceof VitpassError) || error.code !== 'MODEL_UNSUPPORTED') throw error
    return { anatomy: null, traced: null }
  }
}

function numberOf(dim: unknown): number | null {
  return typeof dim === 'number' && dim > 0 ? dim : null
}

/** The one grid that a constant in the file spells out, as a position table that nothing resizes does, or coordinates of one size. */
function onlyGrid({ baked, positions }: Anatomy, { sizes }: Trace): Grid | null {
  if (baked.tokens !== null) return { rows: sizes.rows, cols: sizes.cols }
  const rotary = positions.find(({ rightAt }) => rightAt !== undefined)?.rightAt
  return rotary ?? positions.find(({ resize }) => resize === 'baked')?.native ?? null
}

function nativeGrid(
  fixed: { readonly height: number | null; readonly width: number | null },
  patch: Size,
  anatomy: Anatomy | null,
  traced: Trace | null,
): Grid | null {
  if (fixed.height !== null && fixed.width !== null) return gridOf({ height: fixed.height, width: fixed.width }, patch)
  const rotary = anatomy?.positions.find(({ rightAt }) => rightAt !== undefined)?.rightAt
  return rotary ?? anatomy?.positions.find(({ native }) => native !== null)?.native ?? traced?.exported ?? null
}

function layoutOf(dims: readonly Dim[] | null, traced: Trace | null): Layout | string {
  if (dims === null || traced === null) return 'its axes are not known'
  const [batch, ...rest] = dims
  if (batch === undefined || layoutKey(batch) !== 'batch') return 'its first axis is not the batch'
  const axes = rest.map((dim) => axisOf(dim, traced))
  const unknown = axes.indexOf(null)
  if (unknown >= 0) return `its axis ${unknown + 1} does not follow the patch grid`
  return axes.filter((axis) => axis !== null)
}

function axisOf(dim: Dim, traced: Trace): Axis | null {
  if (!dependsOnSize(dim)) return { kind: 'fixed' }
  if (layoutKey(dim) === layoutKey(traced.rows)) return { kind: 'rows' }
  if (layoutKey(dim) === layoutKey(traced.cols)) return { kind: 'cols' }
  if (!isTokenRow(dim, traced)) return null
  const parts = terms(dim)
  const at = parts.findIndex((term) => isPatchRow(term, traced))
  const count = (some: readonly Dim[]): number => some.reduce((n, term) => n + (isInt(term) ? term.n : 0), 0)
  return { kind: 'tokens', before: count(parts.slice(0, at)), after: count(parts.slice(at + 1)) }
}

/** By the weakest arithmetic in the graph. */
function precisionOf(model: Model): Precision {
  const operators = new Set<string>()
  for (const node of model.graph.walk()) operators.add(node.opType)
  if (['DynamicQuantizeLinear', 'DynamicQuantizeMatMul'].some((name) => operators.has(name))) return 'dynamic int8'
  if (['QuantizeLinear', 'QLinearMatMul', 'QLinearConv', 'MatMulInteger'].some((name) => operators.has(name)))
    return 'int8'
  const types = new Set(
    model.graph.initializers.flatMap((value) => {
      const { tensor } = value
      return tensor === null || tensor.dims.length < 2 || isStoredOnly(value) ? [] : [tensor.dtype]
    }),
  )
  for (const node of model.graph.walk()) {
    const tensor = node.is('Constant') ? node.tensor('value') : undefined
    const made = node.output(0)
    if (tensor !== undefined && tensor.dims.length >= 2 && made !== null && !isStoredOnly(made)) types.add(tensor.dtype)
  }
  if (types.has('bfloat16')) return 'bf16'
  return types.has('float16') ? 'fp16' : 'fp32'
}

/** True for weights that are kept in one type and computed with in another. */
function isStoredOnly({ users }: Value): boolean {
  return users.length > 0 && users.every((node) => node.is('Cast', 'CastLike'))
}
