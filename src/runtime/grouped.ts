import { planBatches } from '../batching/plan.ts'
import type { StrategyOptions } from './choose-strategy.ts'
import type { EncoderModel } from './encoder-model.ts'
import { findImageInput } from './image-input.ts'
import { PixelBatch } from './pixels.ts'
import { costOf } from './planning.ts'
import { choosePooling } from './pooling.ts'
import type { Strategy } from './strategy.ts'

/** Pixels that cost about what a patch does, in networks that are not cut into patches. */
const PIXELS_PER_TOKEN = 256

/**
 * For any encoder of images: those of exactly equal size run together, so nothing is padded. A model for a fixed number of images gets
 * copies of the last one where there are fewer.
 */
export function groupedStrategy(model: EncoderModel, options: StrategyOptions): Strategy | string {
  if (model.applied.validity !== null) return 'it tells padding apart by itself'
  const input = findImageInput(model)
  if (typeof input === 'string') return input
  const pooling = choosePooling(model, options.output)
  if (typeof pooling === 'string') return pooling
  const bytesPerToken = PIXELS_PER_TOKEN * (input.channels ?? 3) * 4
  return {
    kind: 'grouped',
    why: 'vitpass has not made the model padding-proof, so only images of equal size run together',
    channels: input.channels,
    outputs: [pooling.output],
    features: pooling.features,
    refuses({ height, width }) {
      if ((input.height ?? height) !== height || (input.width ?? width) !== width)
        return `the model takes images of ${input.height ?? 'any'}x${input.width ?? 'any'} only`
      if (input.square && height !== width) return 'the model takes square images only'
      const { patch } = model
      if (patch !== null && (height < patch.height || width < patch.width))
        return `it is smaller than a patch of ${patch.height}x${patch.width}`
      return null
    },
    plan(sizes) {
      const planned = planBatches(sizes, {
        ...costOf(model, pooling.features),
        cell: { height: 1, width: 1 },
        tokensPerCell: 1 / PIXELS_PER_TOKEN,
        extraTokens: 0,
        batchTokens: Math.min(options.batchTokens, options.batchBytes / bytesPerToken),
        batchImages: input.batch ?? Number.POSITIVE_INFINITY,
        maxPadding: 0,
        lanes: options.lanes,
        buckets: [],
      })
      return planned.map((batch) => ({ ...batch, sizes: batch.members.map(() => batch) }))
    },
    *feeds({ members, height, width }, images, allocate) {
      const channels = images[members[0] ?? 0]?.channels ?? 0
      const count = input.batch ?? members.length
      const data = allocate(input.type, count * channels * height * width)
      const pixels = new PixelBatch(input.type, data, [count, channels, height, width])
      for (let i = 0; i < count; i++) {
        const image = images[members[Math.min(i, members.length - 1)] ?? 0]
        if (image !== undefined) yield* pixels.write(image, i, { height, width })
      }
      return { [input.name]: pixels.tensor }
    },
    rows: (outputs, { members }) => members.map((_, i) => pooling.row(outputs, i)),
  }
}
