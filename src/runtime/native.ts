import { planBatches } from '../batching/plan.ts'
import type { StrategyOptions } from './choose-strategy.ts'
import type { EncoderModel } from './encoder-model.ts'
import type { Size } from './image.ts'
import { checkNative } from './native-check.ts'
import { type NativeContract, recogniseInputs } from './native-contract.ts'
import { arranged, callOf, holdsWhole, isPictures, nativeFeeds } from './native-feeds.ts'
import { gridOf, refusesGrid } from './native-grid.ts'
import { packTokens } from './native-plan.ts'
import { chooseRows } from './native-rows.ts'
import { costOf } from './planning.ts'
import type { Batch, Strategy } from './strategy.ts'

/**
 * Share of the allowed tokens that a batch of several images takes. Sequences gain less from company than pictures do: on a CPU, 256 to
 * 512 tokens are fastest (ViT-tiny, one thread), and larger batches no longer fit its caches.
 */
const PADDED_SHARE = 1 / 3
/** The same for packed images, which attend over the whole pack: a cost that grows with its square. */
const PACKED_SHARE = 1 / 6

const HALF_TYPES = ['float16', 'bfloat16'] as const

/**
 * For models that take images of any size by themselves: patches with each image's grid, or pictures with a mask or sizes
 * (`native-contract.ts`). Images of similar length run together, padded, or packed one after another. Each is cut to whole patches.
 * Whether the model keeps images apart is checked once, when it is opened.
 */
export function nativeStrategy(model: EncoderModel, options: StrategyOptions): Strategy | string {
  const contract = recogniseInputs(model)
  if (typeof contract === 'string') return contract
  const odd = Object.values(contract.inputs).find(({ dtype }) => !holdsWhole(dtype))
  if (odd !== undefined) return `its input ${odd.name} is ${odd.dtype}, which no size or mask is given in`
  const rows = chooseRows(model, contract, options.output)
  if (typeof rows === 'string') return rows
  const { batchTokens, batchBytes } = options
  const { patch, channels, frames, merge } = contract
  const bytesPerToken = patch.height * patch.width * channels * frames * 4
  const share = contract.pixels.dims.length === 2 ? PACKED_SHARE : PADDED_SHARE
  const limit = Math.min(batchTokens, batchBytes / bytesPerToken) * share
  const plan = planner(model, contract, rows.features, { ...options, batchTokens: limit })
  const company = (contract.batch ?? 2) > 1 && limit >= 2 * merge ** 2
  const halves = contract.pixelType === 'float16' || HALF_TYPES.some((type) => model.weightTypes.has(type))
  return {
    kind: 'native',
    why: `the model takes images of any size by itself (${contract.layout}, as its ${contract.from} ${contract.from === 'metadata' ? 'say' : 'show'})`,
    channels: contract.channels,
    features: rows.features,
    outputs: [rows.output],
    refuses: (size) => refusesGrid(size, contract),
    plan,
    feeds: (batch, images, allocate) => nativeFeeds(callOf(batch, images, contract), contract, allocate),
    rows: (outputs, { sizes }) => rows.divide(outputs, arranged(sizes, contract)).slice(0, sizes.length),
    check: (run) => checkNative(contract, rows, { company, halves }, run),
  }
}

function planner(
  model: EncoderModel,
  contract: NativeContract,
  features: number | null,
  { batchTokens, maxPadding, lanes }: StrategyOptions,
): (sizes: readonly Size[]) => Batch[] {
  const { patch, merge, batch, pixels } = contract
  const tokens = (size: Size): number => {
    const { rows, cols } = gridOf(size, contract)
    return rows * cols
  }
  if (pixels.dims.length === 2) {
    return (sizes) => packTokens(sizes.map(tokens), batchTokens).map((members) => batchOf(members, sizes, tokens))
  }
  const shared = {
    ...costOf(model, features),
    tokensPerCell: 1,
    extraTokens: 0,
    batchTokens,
    batchImages: batch ?? Number.POSITIVE_INFINITY,
    maxPadding,
    lanes,
    buckets: [],
  }
  if (isPictures(contract)) {
    const cell = { height: patch.height * merge, width: patch.width * merge }
    return (sizes) =>
      planBatches(sizes, { ...shared, cell, tokensPerCell: merge ** 2 }).map((planned) => ({
        ...planned,
        sizes: planned.members.map((member) => sizes[member] ?? planned),
      }))
  }
  const line = { height: 1, width: 1 }
  return (sizes) => {
    const lengths = sizes.map((size) => ({ height: 1, width: tokens(size) }))
    return planBatches(lengths, { ...shared, cell: line }).map(({ members, tokens: computed }) => ({
      ...batchOf(members, sizes, tokens),
      tokens: contract.length === null ? computed : contract.length * (batch ?? members.length),
    }))
  }
}

function batchOf(members: readonly number[], sizes: readonly Size[], tokens: (size: Size) => number): Batch {
  const own = members.map((member) => {
    const size = sizes[member]
    if (size === undefined) throw new RangeError(`image ${member} of ${sizes.length} was planned`)
    return size
  })
  const longest = own.reduce((most, size) => (tokens(size) > tokens(most) ? size : most))
  return {
    members,
    sizes: own,
    height: longest.height,
    width: longest.width,
    tokens: own.reduce((sum, size) => sum + tokens(size), 0),
  }
}
