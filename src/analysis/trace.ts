import { VitpassError } from '../errors.ts'
import { type Dim, int, sym } from '../ir/dim.ts'
import type { Graph } from '../ir/graph.ts'
import type { Model } from '../ir/model.ts'
import { readProvenance } from '../ir/provenance.ts'
import type { Value } from '../ir/value.ts'
import { dimSummary } from './describe.ts'
import type { Facts, Placed } from './facts.ts'
import { dependsOnSize } from './grid.ts'
import { declaredAxes, infer } from './infer.ts'
import { otherInputs } from './other-inputs.ts'
import { callerInputs, findPatchEmbedding, type PatchEmbedding } from './pixels.ts'
import { structuralMixing } from './structure.ts'
import { suggestSizes, type TraceSizes } from './trace-sizes.ts'
import { placeUnitBatch } from './unit-batch.ts'
import { channelsOf } from './weights.ts'

/** Symbolic inference at one choice of sizes at which every shape in the graph agrees. */
export interface Trace {
  /** What the caller gives: the image, and sizes where an earlier pass asks for them. */
  readonly inputs: readonly Value[]
  readonly patch: PatchEmbedding
  readonly facts: Facts
  readonly opset: number
  /** The patch grid as dims: `(height/16)`, `(width/16)`. */
  readonly rows: Dim
  readonly cols: Dim
  /** The sizes of this trace: the batch, and the grid in patches. */
  readonly sizes: TraceSizes
  /** The grid of the export, where it was made for one size, also after `dynshape` has freed it. */
  readonly exported: { readonly rows: number; readonly cols: number } | null
  /** Which of the image input's axes the file declares as numbers. */
  readonly fixed: { readonly batch: boolean; readonly height: boolean; readonly width: boolean }
  /** Facts at another grid, whether the shapes agree there or not. Inferred once for each grid. */
  at(rows: number, cols: number): Facts
}

/** Primes that no head count, prefix or width is likely to equal, so that a coincidence shows itself. */
const FREE: TraceSizes = { batch: 7, rows: 11, cols: 13 }

/** For a model that takes only some sizes, such as whole windows of patches: lengths with many divisors, no window among them. */
const DIVISIBLE: TraceSizes = { batch: 7, rows: 48, cols: 72 }

/** Attempts at most: each is one inference, a few milliseconds. */
const ATTEMPTS = 96

/** Attempts after which sizes at which a Reshape splits another size will do, as they must for a model of windows. */
const ENOUGH = 16

/**
 * Infers the model's shapes symbolically. A model whose sizes are all free is traced at arbitrary ones; one that has a
 * size baked in agrees with itself at that size only, so sizes that its constants suggest are tried until one fits.
 *
 * @param grid the traced patch grid, where the caller knows it
 * @throws VitpassError MODEL_UNSUPPORTED when no size is found at which the shapes agree
 */
export function trace(model: Model, given?: { readonly rows: number; readonly cols: number }): Trace {
  const grid = given ?? readProvenance(model).grid
  const cached = CACHE.get(model)
  const key = `${grid?.rows} ${grid?.cols}`
  if (cached?.graph === model.graph && cached.edits === model.graph.edits && cached.key === key) return cached.trace
  const found = findTraceOrSayWhy(model, grid)
  CACHE.set(model, { graph: model.graph, edits: model.graph.edits, key, trace: found })
  return found
}

/** The last trace of each model, good until its graph changes. */
const CACHE = new WeakMap<
  Model,
  { readonly graph: Graph; readonly edits: number; readonly key: string; readonly trace: Trace }
>()

/** Where a batch of one image stood in the last trace of each model: the next begins with it. */
const PLACED = new WeakMap<Model, Placed>()

/** Facts at arbitrary sizes, whatever the file's constants say: what does not agree then is baked in. */
export function freeTrace(model: Model): Facts {
  return factsAt(model, FREE)
}

function factsAt(model: Model, grid: { readonly rows: number; readonly cols: number }): Facts {
  const patch = findPatchEmbedding(model)
  const declared = patch.pixels.declaredDims ?? []
  const sizes = { ...FREE, ...grid, ...(typeof declared[0] === 'number' ? { batch: declared[0] } : {}) }
  const size = { height: sizes.rows * patch.height, width: sizes.cols * patch.width }
  return infer(model.graph, model.opset, inputAxes(model, patch, sizes.batch, size))
}

function isSquare(patch: PatchEmbedding): boolean {
  const [, , height, width] = patch.pixels.declaredDims ?? []
  return typeof height === 'string' && height === width && height !== ''
}

function pixelSize(
  { patch, fixed }: Pick<Trace, 'patch' | 'fixed'>,
  sizes: TraceSizes,
): { height: number; width: number } {
  const [, , height, width] = patch.pixels.declaredDims ?? []
  return {
    height: fixed.height ? Number(height) : sizes.rows * patch.height,
    width: fixed.width ? Number(width) : sizes.cols * patch.width,
  }
}

/** As `findTrace`; where no size fits and the operators show why such an encoder is no matter of sizes, that is the reason given. */
function findTraceOrSayWhy(model: Model, grid?: { readonly rows: number; readonly cols: number }): Trace {
  const patch = findPatchEmbedding(model)
  try {
    return findTrace(model, patch, grid)
  } catch (error) {
    if (!(error instanceof VitpassError)) throw error
    const [problem] = structuralMixing(model.graph, patch)
    const [other] = otherInputs(model, patch)
    if (other !== undefined)
      throw new VitpassError('MODEL_UNSUPPORTED', other.reason, {
        ...(other.node === undefined ? {} : { node: other.node.label }),
        remedy: other.remedy,
      })
    if (problem === undefined) throw error
    throw new VitpassError('MODEL_UNSUPPORTED', problem.reason, {
      node: problem.node.label,
      remedy: 'encode this model in groups of equal size instead',
    })
  }
}

function findTrace(
  model: Model,
  patch: PatchEmbedding,
  grid?: { readonly rows: number; readonly cols: number },
): Trace {
  const declared = patch.pixels.declaredDims ?? [null, null, null, null]
  const [batch, , height, width] = declared
  const fixed = {
    batch: typeof batch === 'number' && batch > 0,
    height: typeof height === 'number' && height > 0,
    width: typeof width === 'number' && width > 0,
  }
  const given = {
    ...(fixed.batch ? { batch: Number(batch) } : {}),
    ...(fixed.height ? { rows: Math.floor(Number(height) / patch.height) } : {}),
    ...(fixed.width ? { cols: Math.floor(Number(width) / patch.width) } : {}),
  }
  const first: TraceSizes = { ...FREE, ...(isSquare(patch) ? { cols: FREE.rows } : {}), ...grid, ...given }

  let best: { facts: Facts; sizes: TraceSizes; axes: ReadonlyMap<Value, readonly Dim[]> } | undefined
  const queue: TraceSizes[] = [
    first,
    { ...first, rows: DIVISIBLE.rows, cols: isSquare(patch) ? DIVISIBLE.rows : DIVISIBLE.cols },
  ]
  const tried = new Set<string>()
  for (let next = queue.shift(); next !== undefined && tried.size < ATTEMPTS; next = queue.shift()) {
    const sizes = { ...next, ...grid, ...given }
    const key = `${sizes.batch} ${sizes.rows} ${sizes.cols}`
    if (tried.has(key)) continue
    tried.add(key)
    const axes = inputAxes(model, patch, sizes.batch, pixelSize({ patch, fixed }, sizes))
    const facts = infer(model.graph, model.opset, axes, PLACED.get(model))
    if (hidesLengths(facts, sizes)) continue
    if (best === undefined || fitsBetter(facts, best.facts)) best = { facts, sizes, axes }
    if (facts.impossible.length === 0 && (facts.split.length === 0 || tried.size > ENOUGH)) break
    queue.push(...suggestSizes(sizes, facts, model.graph))
  }
  if (best === undefined) {
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      'the image is too small at every size that fits the graph to tell its axes apart',
      {
        node: patch.conv.label,
      },
    )
  }
  const [clash] = best.facts.impossible
  if (clash !== undefined) {
    const met = `${clash.note} of ${dimSummary(clash.left)} and ${dimSummary(clash.right)}`
    const size = pixelSize({ patch, fixed }, best.sizes)
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      grid === undefined
        ? `no image size was found at which the shapes agree: ${met}`
        : `the shapes do not agree at ${size.height}x${size.width}, the size that was given: ${met}`,
      {
        node: clash.node.label,
        remedy: `give the size at which it was exported with --option dynshape.size=HEIGHTxWIDTH${grid === undefined ? '' : ', or leave it out'}`,
      },
    )
  }
  const facts = placeUnitBatch(best.facts, model.opset, best.axes)
  PLACED.set(model, facts.placed)
  const dims = facts.dims(patch.conv.output(0))
  const [, , rows, cols] = dims ?? []
  if (rows === undefined || cols === undefined) {
    throw new VitpassError('MODEL_UNSUPPORTED', 'the patch grid could not be inferred', { node: patch.conv.label })
  }
  const isFree = best.sizes.rows === FREE.rows || best.sizes.rows === DIVISIBLE.rows
  const exported = readProvenance(model).exported ?? (isFree ? null : { rows: best.sizes.rows, cols: best.sizes.cols })
  const elsewhere = new Map<string, Facts>()
  return {
    at(rows, cols) {
      const key = `${rows} ${cols}`
      const known = elsewhere.get(key) ?? factsAt(model, { rows, cols })
      elsewhere.set(key, known)
      return known
    },
    exported,
    inputs: callerInputs(model),
    patch,
    facts,
    opset: model.opset,
    rows,
    cols,
    sizes: best.sizes,
    fixed,
  }
}

/** Shapes that agree; of those, the ones in which no Reshape splits a size, as numbers that divide it by chance would. */
function fitsBetter(facts: Facts, than: Facts): boolean {
  const more = facts.impossible.length - than.impossible.length
  return more < 0 || (more === 0 && facts.split.length < than.split.length)
}

/**
 * True where a length that is computed from the image's size is 1 in this trace, though the grid is larger: one window of
 * patches, say. Such an axis vanishes in a Reshape, and the trace would not speak for larger images.
 */
function hidesLengths(facts: Facts, sizes: TraceSizes): boolean {
  if (sizes.rows === 1 || sizes.cols === 1) return false
  for (const node of facts.graph.nodes) {
    if (!node.is('Reshape', 'Expand')) continue
    const contents = facts.contents(node.input(1))
    if (contents?.kind === 'list' && contents.items.some((dim) => dim.n === 1 && dependsOnSize(dim))) return true
  }
  return false
}

function inputAxes(
  model: Model,
  patch: PatchEmbedding,
  batch: number,
  size: { readonly height: number; readonly width: number },
): Map<Value, readonly Dim[]> {
  const named = new Map<string, number>()
  const [batchName, , heightName, widthName] = patch.pixels.declaredDims ?? []
  if (typeof batchName === 'string') named.set(batchName, batch)
  if (typeof heightName === 'string') named.set(heightName, size.height)
  if (typeof widthName === 'string') named.set(widthName, size.width)
  const axes = new Map<Value, readonly Dim[]>()
  for (const value of callerInputs(model)) {
    const dims = declaredAxes(value, (name) => named.get(name) ?? 1)
    if (dims !== null && value !== patch.pixels) {
      axes.set(
        value,
        dims.map((dim, i) => (i === 0 && dim.n === batch && dims.length > 0 ? sym('batch', batch) : dim)),
      )
    }
  }
  axes.set(patch.pixels, [
    sym('batch', batch),
    int(channelsOf(patch.conv) ?? 3),
    sym('height', size.height),
    sym('width', size.width),
  ])
  return axes
}
