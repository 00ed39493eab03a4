import { readAnatomy } from '../src/analysis/anatomy.ts'
import { type Trace, trace } from '../src/analysis/trace.ts'
import { type BucketPlan, planBuckets, type SizeCount } from '../src/batching/buckets.ts'
import { type CostModel, estimateCost, type Size, type Tokenizer } from '../src/batching/cost.ts'
import { type BucketHints, bucketFor, HINTS_KEY } from '../src/batching/hints.ts'
import { firstTooLarge, parseSizes, toPatches } from '../src/batching/sizes.ts'
import { VitpassError } from '../src/errors.ts'
import type { Model } from '../src/ir/model.ts'
import { findApplied, readProvenance } from '../src/ir/provenance.ts'
import { type Pass, type PassOptions, type PassResult, refuse } from '../src/pipeline/pass.ts'

/**
 * Plans the sizes to which images are padded, and notes them in the metadata for whoever makes the batches: key `vitpass.buckets`, JSON
 * as `BucketHints`. The graph stays as it is.
 *
 * With `sizes`, chooses at most `most` buckets with the least expected cost (see `planBuckets`); with `buckets`, takes those. Refuses
 * without either, and sizes that do not fit where the model takes one size only, as its position table is still for that.
 */
export const bucket: Pass = {
  name: 'bucket',
  version: 1,
  summary: 'plans sizes to pad images to, and notes them in the metadata',
  options: {
    sizes: {
      describe: 'sizes of the images to expect, as JSON [[height, width, count], ...], count 1 if left out',
      type: 'string',
      default: '',
    },
    buckets: {
      describe: 'buckets to be used as they are, as JSON [[height, width, batch], ...]',
      type: 'string',
      default: '',
    },
    most: { describe: 'how many buckets to plan at most', type: 'number', default: 8, minimum: 1 },
    batch: { describe: 'images in a call at most', type: 'number', default: 16, minimum: 1 },
    tokens: {
      describe: 'tokens in a call at most, padding included; 0 for any number',
      type: 'number',
      default: 0,
      minimum: 0,
    },
    crop: { describe: 'images are cut to whole patches before they are padded', type: 'boolean', default: false },
    cost: {
      describe: 'what a call costs, as JSON {"linear", "attention", "call"}: by token, by pair of tokens, by call',
      type: 'string',
      default: 'auto',
    },
  },
  requires: ['dynshape'],
  run(model, options) {
    const wanted = readOptions(options)
    const { given } = wanted
    if (wanted.sizes.length === 0 && given.length === 0) {
      return refuse('no sizes are given', undefined, 'give bucket.sizes; `vitpass bucket` reads them from files')
    }
    const traced = trace(model)
    const { height, width } = traced.patch
    const tokenizer: Tokenizer = { patch: { height, width }, prefix: readAnatomy(model).prefix ?? 0 }
    const sizes = toPatches(wanted.sizes, tokenizer.patch, wanted.crop)
    const asked = wanted.crop ? sizes : wanted.sizes
    const only = onlySize(model, tokenizer.patch)
    const large = only === null ? undefined : firstTooLarge([...given, ...asked], only)
    if (only !== null && large !== undefined) {
      return refuse(
        `${named(large)} does not fit ${named(only)}, the only size that the model takes`,
        undefined,
        'run posenc too, which frees its position table, or leave larger images out',
      )
    }
    if (given.length > 0) return takeBuckets(model, given, asked, tokenizer, only)
    const cost = wanted.cost ?? costOf(model, traced)
    const plan = planBuckets(sizes, { ...wanted.limits, tokenizer, cost, ...(only === null ? {} : { only }) })
    return note(
      model,
      {
        version: 1,
        ...tokenizer,
        buckets: plan.buckets.map((bucket) => ({ ...bucket, padding: round(bucket.padding) })),
        cost,
        expected: {
          images: plan.images,
          padding: round(plan.padding),
          optimal: plan.optimal,
          atMostAbove: plan.optimal ? 0 : Math.ceil((plan.cost / plan.bound - 1) * 1e4) / 1e4,
          cost: Number(plan.cost.toPrecision(6)),
          overUnpadded: round(plan.cost / plan.unpadded),
          ofSingle: round(plan.cost / plan.single),
        },
      },
      [describePlan(plan)],
    )
  },
}

interface Wanted {
  readonly sizes: readonly SizeCount[]
  /** Buckets; the count is their batch. */
  readonly given: readonly SizeCount[]
  readonly limits: { readonly most: number; readonly batch: number; readonly batchTokens?: number }
  readonly crop: boolean
  readonly cost: CostModel | null
}

/** @throws VitpassError BAD_OPTION */
function readOptions(options: PassOptions): Wanted {
  const whole = (key: string): number => {
    const number = Number(options[key])
    if (!Number.isSafeInteger(number)) throw badOption(key, number, 'give a whole number')
    return number
  }
  const tokens = whole('tokens')
  return {
    sizes: readList('sizes', options),
    given: readList('buckets', options),
    limits: { most: whole('most'), batch: whole('batch'), ...(tokens === 0 ? {} : { batchTokens: tokens }) },
    crop: options.crop === true,
    cost: options.cost === 'auto' ? null : readCost(options.cost),
  }
}

function readList(key: 'sizes' | 'buckets', options: PassOptions): SizeCount[] {
  const text = String(options[key])
  return text === '' ? [] : parseSizes(text, `option bucket.${key}`)
}

function readCost(text: unknown): CostModel {
  const remedy = 'give {"linear": 1, "attention": 0.001, "call": 100}, numbers of at least 0 and not all 0'
  let parsed: unknown
  try {
    parsed = JSON.parse(String(text))
  } catch {
    throw badOption('cost', text, remedy)
  }
  const { linear, attention, call } = (parsed ?? {}) as Readonly<Record<string, unknown>>
  const cost = [linear, attention, call].map((n) => (typeof n === 'number' && n >= 0 && Number.isFinite(n) ? n : -1))
  const [byToken = -1, byPair = -1, byCall = -1] = cost
  if (Math.min(...cost) < 0 || byToken + byPair === 0) throw badOption('cost', text, remedy)
  return { linear: byToken, attention: byPair, call: byCall }
}

function badOption(key: string, value: unknown, remedy: string): VitpassError {
  return new VitpassError('BAD_OPTION', `option bucket.${key} cannot be "${value}"`, { remedy })
}

/** The size that the model takes where a position table in it fits no other. */
function onlySize(model: Model, patch: Size): Size | null {
  const { grid } = readProvenance(model)
  return grid === undefined ? null : { height: grid.rows * patch.height, width: grid.cols * patch.width }
}

/** Operations as the graph's own weights tell them. */
function costOf(model: Model, { patch, facts }: Trace): CostModel {
  const hidden = facts.dims(patch.conv.output(0))?.[1]?.n ?? 1
  const matrices = model.graph.initializers.flatMap(({ tensor }) => (tensor?.dims.length === 2 ? [tensor.dims] : []))
  const weights = matrices.reduce((sum, [rows = 0, cols = 0]) => sum + rows * cols, 0)
  return estimateCost({ hidden, weights: Math.max(weights, hidden * hidden) })
}

function takeBuckets(
  model: Model,
  given: readonly SizeCount[],
  sizes: readonly SizeCount[],
  { patch, prefix }: Tokenizer,
  only: Size | null,
): PassResult {
  const wrong = given.find(({ height, width }) =>
    only === null ? height % patch.height > 0 || width % patch.width > 0 : height < only.height || width < only.width,
  )
  if (wrong !== undefined) {
    const remedy =
      only === null ? `give whole patches of ${named(patch)}` : `give ${named(only)}, which the model takes`
    throw badOption('buckets', named(wrong), remedy)
  }
  const tokens = ({ height, width }: Size): number => (height / patch.height) * (width / patch.width)
  const buckets = given
    .map(({ height, width, count }) => ({ height, width, batch: count }))
    .sort((a, b) => tokens(a) - tokens(b) || a.height - b.height)
  const hints: BucketHints = { version: 1, patch, prefix, buckets }
  const homeless = sizes.find((size) => bucketFor(size, hints) === undefined)
  if (homeless !== undefined) {
    return refuse(`${named(homeless)} fits none of the buckets`, undefined, 'add a bucket that holds it')
  }
  return note(model, hints, [])
}

function note(model: Model, hints: BucketHints, more: readonly string[]): PassResult {
  model.setMetadata(HINTS_KEY, JSON.stringify(hints))
  const { buckets } = hints
  const missing = ['mask', 'posenc'].filter((pass) => findApplied(model, pass) === undefined)
  const list = buckets.map((own) => `${named(own)} in ${own.batch}s`).join(', ')
  const notes = [[list, ...more].join('; ')]
  if (missing.length > 0) notes.push(`${missing.join(' and ')} did not run: padding changes what this model answers`)
  return { status: 'applied', sites: { bucket: buckets.length }, notes }
}

function describePlan({ padding, optimal, cost, bound }: BucketPlan): string {
  const above = ((cost / bound - 1) * 100).toPrecision(2)
  const proof = optimal ? 'no other choice costs less' : `at most ${above} % above the least cost`
  return `${(padding * 100).toFixed(1)} % of the tokens are expected to be padding; ${proof}`
}

function named({ height, width }: Size): string {
  return `${height}x${width}`
}

function round(share: number): number {
  return Math.round(share * 1e4) / 1e4
}
