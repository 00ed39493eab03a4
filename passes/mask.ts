import { shapeSummary } from '../src/analysis/describe.ts'
import { isTokenRow } from '../src/analysis/grid.ts'
import { leaveDense } from '../src/analysis/inexact.ts'
import { otherInputs, SIZES_INPUT } from '../src/analysis/other-inputs.ts'
import { tokensAround } from '../src/analysis/position-operand.ts'
import { structuralMixing } from '../src/analysis/structure.ts'
import { followTokens } from '../src/analysis/token-flow.ts'
import {
  type ConvolutionSite,
  DYNAMIC_RANGE,
  type PoolingKind,
  type PoolingSite,
  type SoftmaxSite,
  type TokenFlow,
} from '../src/analysis/token-sites.ts'
import { type Trace, trace } from '../src/analysis/trace.ts'
import { type Dim, isInt, resolve } from '../src/ir/dim.ts'
import { type FloatType, isFloat } from '../src/ir/dtype.ts'
import type { Model } from '../src/ir/model.ts'
import { writeProvenance } from '../src/ir/provenance.ts'
import type { Builder } from '../src/ops/builder.ts'
import type { Pass, PassOptions, Refusal } from '../src/pipeline/pass.ts'
import { builderFor } from '../src/rewrite/builder-for.ts'
import { maskRange, rangeFate } from '../src/rewrite/range-mask.ts'
import { canSelect, Validity, type ValidityOptions } from '../src/rewrite/validity.ts'

/**
 * Keeps padding out of every sum over tokens: each softmax over tokens gets an additive key mask before it, made from each patch's
 * validity, and each pooling over tokens (mean, sum, max, min) that of the valid ones. A convolution that keeps the patch grid reads zeros
 * at padding, as it does beyond the edge of an image alone. A dynamic quantisation reads 0 at padding, so that its scale is what it is
 * without; other images in the batch still move it, and the report says so.
 *
 * Finds its sites by following the tokens from the patch embedding to the outputs, whatever the operators between are called. Refuses,
 * with every node, a graph in which tokens meet in any other way: convolutions that change the grid, windows, products over tokens. With
 * `allowDense`, what only blends neighbouring patches is let be, and the outputs behind it are named as not exact.
 */
export const mask: Pass = {
  name: 'mask',
  version: 1,
  summary: 'masks padded patches before every softmax and out of every pooling over tokens',
  options: {
    source: {
      describe:
        'how padding is told: from the pixels, or from an input image_sizes [batch, 2] (height, width in pixels)',
      type: 'string',
      default: 'pixels',
      choices: ['pixels', 'sizes'],
    },
    mode: {
      describe: 'rect keeps every patch inside the image, patch masks each all-padding patch by itself',
      type: 'string',
      default: 'rect',
      choices: ['rect', 'patch'],
    },
    padValue: { describe: 'pixel value of the padding', type: 'number', default: 0 },
    tol: { describe: 'a pixel this close to padValue still counts as padding', type: 'number', default: 0, minimum: 0 },
    allowDense: {
      describe: 'leave outputs that blend padded neighbours, as those of dense heads, as they are, and name them',
      type: 'boolean',
      default: false,
    },
  },
  requires: ['eager', 'dynshape'],
  run(model, options) {
    const traced = trace(model)
    const others = otherInputs(model, traced.patch)
    if (others.length > 0) return { status: 'refused', refusals: others }
    const whole = followTokens(model.graph, traced)
    const { flow, inexact } =
      options.allowDense === true ? leaveDense(model.graph, whole) : { flow: whole, inexact: [] }
    const structural = flow.problems.length === 0 ? [] : structuralMixing(model.graph, traced.patch)
    const told = new Set(structural.map(({ node }) => node))
    const refusals: Refusal[] = [
      ...structural,
      ...flow.problems.filter(({ node }) => !told.has(node)),
      ...flow.operands
        .filter((operand) => operand.kind === 'scores')
        .map(({ node, slot }) => ({
          node,
          reason: `input ${slot} is a bias on attention scores that depends on the image size`,
        })),
      ...flow.softmaxes.flatMap((site) => unfitSoftmax(site, traced)),
      ...flow.poolings.flatMap((site) => unfitPooling(site, traced)),
      ...flow.convolutions.flatMap((site) => unfitConvolution(site, traced)),
    ]
    if (refusals.length > 0) return { status: 'refused', refusals }
    Validity.check(model, validityOptions(options))
    const suffix = Math.max(0, ...flow.softmaxes.map(({ dims, axis }) => suffixOf(dims[axis], traced)))
    if (suffix > 0) writeProvenance(model, { suffix })
    if (inexact.length > 0) writeProvenance(model, { inexact: inexact.map(({ output }) => output.name) })
    const fates = flow.ranges.map((site) => rangeFate(site, traced, validityOptions(options)))
    const ranges = flow.ranges.filter((_, i) => fates[i] === 'masked')
    const notes = [
      ...inexact.map(
        ({ output, problem: { node, reason } }) =>
          `output ${output.name} is not exact: ${reason} (${node.opType} ${node.label})`,
      ),
      ...notesOn(model, traced, fates.filter((fate) => fate === 'open').length, options),
    ]
    const sites = {
      ...counted('softmax', flow.softmaxes),
      ...counted('pooling', flow.poolings),
      ...counted('convolution', flow.convolutions),
      ...counted('dynamic quantisation', ranges),
    }
    if (Object.keys(sites).length === 0) {
      Validity.plan(model, validityOptions(options))
      return {
        status: 'applied',
        sites: {},
        notes: ['no softmax and no pooling runs over tokens: there is nothing to mask', ...notes],
      }
    }
    applyMask(model, traced, { ...flow, ranges }, validityOptions(options))
    return { status: 'applied', sites, notes }
  },
}

function counted(what: string, sites: readonly unknown[]): Readonly<Record<string, number>> {
  return sites.length === 0 ? {} : { [what]: sites.length }
}

function notesOn(model: Model, traced: Trace, unmasked: number, options: PassOptions): string[] {
  const notes: string[] = []
  const perBatch = model.graph.nodes.find((node) => DYNAMIC_RANGE.has(node.operator))
  if (perBatch !== undefined) {
    const padding = unmasked === 0 ? '' : `; in ${unmasked} places padding moves it too`
    notes.push(
      `${perBatch.label} takes one scale for the whole batch: results depend a little on the other images in it${padding}`,
    )
  }
  if (traced.facts.dtype(traced.patch.conv.output(0)) === 'bfloat16') {
    notes.push(
      'the model computes in bfloat16, for which ONNX Runtime has no convolution on CPU: it runs elsewhere only',
    )
  }
  if (options.source === 'sizes') {
    notes.push(`the model now takes ${SIZES_INPUT}, int64 [batch, 2]: height and width of each image in pixels`)
  }
  return notes
}

function validityOptions(options: PassOptions): ValidityOptions {
  return {
    source: options.source === 'sizes' ? 'sizes' : 'pixels',
    mode: options.mode === 'patch' ? 'patch' : 'rect',
    padValue: Number(options.padValue),
    tol: Number(options.tol),
  }
}

/** Tokens behind the patches along an axis. */
function suffixOf(dim: Dim | undefined, traced: Trace): number {
  return dim === undefined ? 0 : (tokensAround(dim, traced)?.suffix ?? 0)
}

function unfitSoftmax({ node, axis, dims }: SoftmaxSite, traced: Trace): Refusal[] {
  const [leading] = dims
  const key = dims[axis]
  const unfit = (reason: string): Refusal[] => [{ node, reason: `its scores ${shapeSummary(dims)} ${reason}` }]
  if (leading === undefined || key === undefined || axis === 0 || !startsWithBatch(leading)) {
    return unfit('do not begin with the batch')
  }
  if (!isTokenRow(key, traced)) return unfit('have keys that are no row of prefix tokens and patches')
  const dtype = traced.facts.dtype(node.input(0))
  return dtype !== undefined && isFloat(dtype) ? [] : unfit(`are of type ${dtype ?? 'unknown'}`)
}

/** [batch], or [batch * heads] with the heads inside. */
function startsWithBatch(dim: Dim): boolean {
  const [first, ...rest] = resolve(dim).atoms
  return first?.kind === 'sym' && first.id === 'batch' && rest.every((atom) => isInt({ atoms: [atom], n: atom.n }))
}

function unfitPooling({ node, axes, dims }: PoolingSite, traced: Trace): Refusal[] {
  if (axes.includes(0)) return [{ node, reason: `it pools ${shapeSummary(dims)} over the batch` }]
  const dtype = traced.facts.dtype(node.input(0))
  if (!canSelect(dims, traced) || dtype === undefined || !isFloat(dtype)) {
    return [{ node, reason: `it pools ${shapeSummary(dims)}, which is no row of tokens for each image` }]
  }
  return []
}

function unfitConvolution({ node, dims }: ConvolutionSite, traced: Trace): Refusal[] {
  const dtype = traced.facts.dtype(node.input(0))
  if (canSelect(dims, traced) && dtype !== undefined && isFloat(dtype)) return []
  return [{ node, reason: `it reads ${shapeSummary(dims)}, which is no grid of patches for each image` }]
}

function applyMask(
  model: Model,
  traced: Trace,
  { softmaxes, poolings, convolutions, ranges }: TokenFlow,
  options: ValidityOptions,
): void {
  const builder = builderFor(model, traced, 'mask')
  const validity = Validity.in(model, traced, builder, options)
  for (const { node, axis, dims } of softmaxes) {
    const scores = node.input(0)
    const dtype = traced.facts.dtype(scores)
    if (scores === null || dtype === undefined || !isFloat(dtype)) continue
    node.setInput(0, builder.add(scores, validity.bias(dims, axis, dtype)))
  }
  for (const site of poolings) maskPooling(model, traced, site, validity, builder)
  for (const site of ranges) maskRange(site, traced, validity, builder)
  for (const { node, dims } of convolutions) {
    const [grid, dtype] = [node.input(0), traced.facts.dtype(node.input(0))]
    if (grid === null || dtype === undefined || !isFloat(dtype)) continue
    node.setInput(0, builder.where(validity.select(dims), grid, builder.float(0, dtype)))
  }
  model.graph.sort()
}

/** What padding is read as, so that it does not count. */
const NEUTRAL: Readonly<Record<PoolingKind, Readonly<Record<FloatType, number>>>> = {
  mean: { float: 0, double: 0, float16: 0, bfloat16: 0 },
  sum: { float: 0, double: 0, float16: 0, bfloat16: 0 },
  max: { float: -3.4028234663852886e38, double: -Number.MAX_VALUE, float16: -65504, bfloat16: -3.3895e38 },
  min: { float: 3.4028234663852886e38, double: Number.MAX_VALUE, float16: 65504, bfloat16: 3.3895e38 },
}

/**
 * Lets a reduction read a neutral element at padding; a mean becomes that sum divided by how many tokens are valid, at least one, so
 * that an image that is all padding gives 0.
 */
function maskPooling(model: Model, traced: Trace, site: PoolingSite, validity: Validity, builder: Builder): void {
  const { node, kind, axes, dims, keepdims } = site
  const source = node.input(0)
  const output = node.output(0)
  const dtype = traced.facts.dtype(source)
  if (source === null || output === null || dtype === undefined || !isFloat(dtype)) return
  const select = validity.select(dims)
  const valid = builder.where(select, source, builder.float(NEUTRAL[kind][dtype], dtype))
  if (kind !== 'mean') return node.setInput(0, valid)
  const reduce = { axes: [...axes], keepdims: keepdims ? 1 : 0 }
  // Half precision would lose the sum of many tokens, and their number beyond 2048.
  const wide = dtype === 'float16' || dtype === 'bfloat16' ? 'float' : dtype
  const sum = builder.reduceSum(builder.cast(valid, { to: wide }), reduce)
  const counted = builder.reduceSum(builder.cast(select, { to: wide }), reduce)
  const others = axes.reduce((n, axis) => n * (isInt(dims[axis] as Dim) ? (dims[axis] as Dim).n : 1), 1)
  const total = others === 1 ? counted : builder.mul(counted, builder.float(others, wide))
  const mean = builder.div(sum, builder.max([total, builder.float(1, wide)]))
  model.graph.replaceUses(output, builder.cast(mean, { to: dtype }))
}
