import { shapeSummary } from '../src/analysis/describe.ts'
import { isTokenRow } from '../src/analysis/grid.ts'
import { followTokens, type MeanSite, type SoftmaxSite } from '../src/analysis/token-flow.ts'
import { type Trace, trace } from '../src/analysis/trace.ts'
import { type Dim, isInt, resolve } from '../src/ir/dim.ts'
import { isFloat } from '../src/ir/dtype.ts'
import type { Model } from '../src/ir/model.ts'
import { Builder } from '../src/ops/builder.ts'
import type { Pass, PassOptions, Refusal } from '../src/pipeline/pass.ts'
import { canSelect, Validity, type ValidityOptions } from '../src/rewrite/validity.ts'

/**
 * Keeps padding out of every sum over tokens: each softmax over tokens gets an additive key mask before it, made from each patch's
 * validity, and each mean over tokens becomes the mean of the valid ones.
 *
 * Finds its sites by following the tokens from the patch embedding to the outputs, whatever the operators between are called. Refuses,
 * with every node, a graph in which tokens meet in any other way: convolutions after the patches, windows, products over tokens.
 */
export const mask: Pass = {
  name: 'mask',
  version: 1,
  summary: 'masks padded patches before every softmax and out of every mean over tokens',
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
    tol: { describe: 'a pixel this close to padValue still counts as padding', type: 'number', default: 0 },
  },
  requires: ['eager', 'dynshape'],
  run(model, options) {
    const traced = trace(model)
    const flow = followTokens(model.graph, traced)
    const refusals: Refusal[] = [
      ...flow.problems,
      ...flow.operands
        .filter((operand) => operand.kind === 'scores')
        .map(({ node, slot }) => ({
          node,
          reason: `input ${slot} is a bias on attention scores that depends on the image size`,
        })),
      ...flow.softmaxes.flatMap((site) => unfitSoftmax(site, traced)),
      ...flow.means.flatMap((site) => unfitMean(site, traced)),
    ]
    if (refusals.length > 0) return { status: 'refused', refusals }
    if (flow.softmaxes.length === 0) {
      return {
        status: 'refused',
        refusals: [{ reason: 'no softmax over tokens was found: the model has no attention to mask' }],
      }
    }
    Validity.check(model, validityOptions(options))
    applyMask(model, traced, flow.softmaxes, flow.means, validityOptions(options))
    const means = flow.means.length === 0 ? {} : { means: flow.means.length }
    return { status: 'applied', sites: { softmaxes: flow.softmaxes.length, ...means } }
  },
}

function validityOptions(options: PassOptions): ValidityOptions {
  return {
    source: options.source === 'sizes' ? 'sizes' : 'pixels',
    mode: options.mode === 'patch' ? 'patch' : 'rect',
    padValue: Number(options.padValue),
    tol: Number(options.tol),
  }
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

function unfitMean({ node, axes, dims }: MeanSite, traced: Trace): Refusal[] {
  if (axes.includes(0)) return [{ node, reason: `it averages ${shapeSummary(dims)} over the batch` }]
  const dtype = traced.facts.dtype(node.input(0))
  if (!canSelect(dims, traced) || dtype === undefined || !isFloat(dtype)) {
    return [{ node, reason: `it averages ${shapeSummary(dims)}, which is no row of tokens for each image` }]
  }
  return []
}

function applyMask(
  model: Model,
  traced: Trace,
  softmaxes: readonly SoftmaxSite[],
  means: readonly MeanSite[],
  options: ValidityOptions,
): void {
  const builder = new Builder(model.graph, model.opset, {
    scope: 'vitpass/mask',
    dtypeOf: (value) => traced.facts.dtype(value),
  })
  const validity = Validity.in(model, traced, builder, options)
  for (const { node, axis, dims } of softmaxes) {
    const scores = node.input(0)
    const dtype = traced.facts.dtype(scores)
    if (scores === null || dtype === undefined || !isFloat(dtype)) continue
    node.setInput(0, builder.add(scores, validity.bias(dims, axis, dtype)))
  }
  for (const site of means) maskMean(model, traced, site, validity, builder)
  model.graph.sort()
}

/** Sum over valid tokens divided by how many there are; at least one, so that an image of padding gives 0. */
function maskMean(model: Model, traced: Trace, site: MeanSite, validity: Validity, builder: Builder): void {
  const { node, axes, dims, keepdims } = site
  const source = node.input(0)
  const mean = node.output(0)
  const dtype = traced.facts.dtype(source)
  if (source === null || mean === null || dtype === undefined || !isFloat(dtype)) return
  const select = validity.select(dims)
  const reduce = { axes: [...axes], keepdims: keepdims ? 1 : 0 }
  const sum = builder.reduceSum(builder.where(select, source, builder.float(0, dtype)), reduce)
  const ones = builder.cast(select, { to: dtype })
  const others = axes.filter((axis) => isInt(dims[axis] as Dim)).reduce((n, axis) => n * (dims[axis] as Dim).n, 1)
  const counted = builder.reduceSum(ones, reduce)
  const count = builder.max([
    others === 1 ? counted : builder.mul(counted, builder.float(others, dtype)),
    builder.float(1, dtype),
  ])
  model.graph.replaceUses(mean, builder.div(sum, count))
}
