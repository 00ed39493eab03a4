import { dependents, slice } from '../src/analysis/dependence.ts'
import { dimSummary } from '../src/analysis/describe.ts'
import { clashesWhenFree } from '../src/analysis/free.ts'
import { dependsOnSize } from '../src/analysis/grid.ts'
import { mixesImages } from '../src/analysis/mixing.ts'
import { otherInputs } from '../src/analysis/other-inputs.ts'
import { findPatchEmbedding } from '../src/analysis/pixels.ts'
import { structuralMixing } from '../src/analysis/structure.ts'
import { followTokens } from '../src/analysis/token-flow.ts'
import { type Trace, trace } from '../src/analysis/trace.ts'
import { cloneModel } from '../src/ir/clone.ts'
import { type Dim, isInt, layoutKey } from '../src/ir/dim.ts'
import { tidy } from '../src/ir/edit.ts'
import type { Model } from '../src/ir/model.ts'
import type { Node } from '../src/ir/node.ts'
import { readProvenance, writeProvenance } from '../src/ir/provenance.ts'
import type { DeclaredDim, Value } from '../src/ir/value.ts'
import { pairOption, readPair } from '../src/pipeline/options.ts'
import { type Pass, type Refusal, refuse } from '../src/pipeline/pass.ts'
import { builderFor } from '../src/rewrite/builder-for.ts'
import { planFreeing } from '../src/rewrite/free-sizes.ts'
import { SizeEmitter } from '../src/rewrite/sizes.ts'

/**
 * Frees the sizes that an export has baked in: batch, height and width become symbolic, and every number in the graph that spells out
 * a traced size is computed instead.
 *
 * The graph is traced at the size it was made for, with every axis named; a number that meets a named axis is that axis. Position
 * tables stay (they are constants for each token, which `posenc` replaces). Refuses where a symbolic axis would have to be split, or
 * where a constant for one size takes part in the computation.
 */
export const dynshape: Pass = {
  name: 'dynshape',
  version: 1,
  summary: 'frees baked batch, height and width',
  options: {
    size: pairOption(
      'HEIGHTxWIDTH in pixels at which the model was exported, where the file does not show it',
      'HEIGHTxWIDTH, such as 224x224',
    ),
  },
  requires: ['canonical'],
  prepare(model, options) {
    const size = readPair(options.size)
    if (size === null) return
    const [height, width] = size
    const patch = findPatchEmbedding(model)
    writeProvenance(model, { grid: { rows: Math.floor(height / patch.height), cols: Math.floor(width / patch.width) } })
  },
  run(model) {
    const traced = trace(model)
    const builder = builderFor(model, traced, 'dynshape')
    const sizes = new SizeEmitter(builder, traced)
    const plan = planFreeing(model.graph, traced, sizes)
    const refusals: Refusal[] = [...plan.stuck]
    for (const { node, left, right, note } of plan.tables) {
      const isTable = node.is('Add', 'Sub', 'Mul', 'Concat') || node.opType === 'SkipLayerNormalization'
      if (!isTable)
        refusals.push({ node, reason: `${note} of ${dimSummary(left)} with a constant of ${dimSummary(right)}` })
    }
    if (traced.facts.placements.size > 0) refusals.push(...mixingOfImages(model, traced))
    const others = otherInputs(model, traced.patch)
    if (refusals.length > 0) {
      return { status: 'refused', refusals: [...others, ...structuralMixing(model.graph, traced.patch), ...refusals] }
    }

    const dims = freeDims(traced)
    const renamed = dims.filter((dim, axis) => dim !== traced.patch.pixels.declaredDims?.[axis]).length
    if (plan.edits.length === 0 && renamed === 0) {
      return { status: 'nothing', notes: ['batch, height and width are free already'] }
    }
    if (others.length > 0) return { status: 'refused', refusals: others }
    const tables = positionNodes(model, traced)
    const untouched = cloneModel(model)
    const sites: Record<string, number> = {}
    for (const edit of plan.edits) {
      edit.apply(builder, sizes)
      sites[edit.kind] = (sites[edit.kind] ?? 0) + 1
    }
    declareDims(model, traced, dims)
    if (renamed > 0) sites['named dim'] = renamed
    tidy(model.graph)
    const clashes = clashesWhenFree(model)
    const clash = clashes.find(({ node }) => !tables.has(node))
    if (clash !== undefined) {
      model.restore(untouched)
      const problems = structuralMixing(model.graph, findPatchEmbedding(model))
      if (problems.length > 0) return { status: 'refused', refusals: problems }
      const met = `${clash.note} of ${dimSummary(clash.left)} and ${dimSummary(clash.right)}`
      return refuse(
        `a size stays baked in: ${met}`,
        clash.node,
        'export it with dynamic sizes, or encode it in groups of equal size',
      )
    }
    if (traced.exported !== null) writeProvenance(model, { exported: traced.exported })
    const grid = clashes.length === 0 ? undefined : { rows: traced.sizes.rows, cols: traced.sizes.cols }
    if (grid !== undefined || readProvenance(model).grid !== undefined) writeProvenance(model, { grid })
    const pending =
      clashes.length === 0
        ? []
        : [{ pass: 'posenc', note: 'a position table still fits one size only: posenc frees it' }]
    return { status: 'applied', sites, pending }
  },
}

/** Where a model made for one image would let images see each other, or take one for all, once it gets several. */
function mixingOfImages(model: Model, traced: Trace): Refusal[] {
  const live = dependents(model.graph, ...traced.inputs)
  return model.graph.nodes.flatMap((node) => {
    const reason = node.outputs.some((value) => value !== null && live.has(value)) && mixesImages(node, live, traced)
    return reason ? [{ node, reason }] : []
  })
}

/** The nodes that make what is added to the tokens for their positions, and those that add it: `posenc` replaces them. */
function positionNodes(model: Model, traced: Trace): ReadonlySet<Node> {
  const { operands } = followTokens(model.graph, traced)
  return new Set(
    operands.flatMap(({ node, slot }) => {
      const value = node.input(slot)
      return value === null ? [node] : [node, ...slice(model.graph, value)]
    }),
  )
}

/** The image input's axes with names for batch, height and width, each its own. */
function freeDims({ patch: { pixels } }: Trace): readonly DeclaredDim[] {
  const before = pixels.declaredDims ?? [null, null, null, null]
  return before.map((dim, axis): DeclaredDim => {
    if (axis === 1) return dim
    const shared = typeof dim === 'string' && before.indexOf(dim) !== before.lastIndexOf(dim)
    return typeof dim === 'string' && dim !== '' && !shared ? dim : (AXES[axis] ?? null)
  })
}

const AXES = ['batch', '', 'height', 'width']

function declareDims(model: Model, traced: Trace, dims: readonly DeclaredDim[]): void {
  const { pixels } = traced.patch
  pixels.type = { kind: 'tensor', dtype: pixels.dtype ?? 'float', dims }
  const named = [0, 2, 3].map((axis): [string, string] => [String(AXES[axis]), String(dims[axis])])
  const spelled = new Map(named)
  const taken = new Set(spelled.values())
  for (const output of model.graph.outputs) declareOutput(output, traced, spelled, taken)
  model.graph.touch()
}

function declareOutput(output: Value, { facts }: Trace, spelled: Map<string, string>, taken: Set<string>): void {
  const dims = facts.dims(output)
  const dtype = facts.dtype(output) ?? output.dtype
  if (dims === null || dtype === undefined) return
  const declared = output.declaredDims
  const next = dims.map((dim, axis): DeclaredDim => {
    if (isInt(dim)) return dim.n
    const key = layoutKey(dim)
    const known = spelled.get(key)
    if (known !== undefined) return known
    const old = declared?.[axis]
    const own = typeof old === 'string' && old !== '' && !taken.has(old) ? old : freshName(dim, taken)
    spelled.set(key, own)
    taken.add(own)
    return own
  })
  output.type = { kind: 'tensor', dtype, dims: next }
}

function freshName(dim: Dim, taken: ReadonlySet<string>): string {
  const base = dependsOnSize(dim)
    ? dim.atoms.length === 1 && dim.atoms[0]?.kind === 'sym'
      ? 'grid'
      : 'tokens'
    : 'axis'
  let name = base
  for (let i = 1; taken.has(name); i += 1) name = `${base}_${i}`
  return name
}
