import { HINTS_KEY, readHints } from '../batching/hints.ts'
import { planBatches } from '../batching/plan.ts'
import type { StrategyOptions } from './choose-strategy.ts'
import { EdgeKeeper } from './edges.ts'
import type { EncoderModel } from './encoder-model.ts'
import type { Size } from './image.ts'
import { findImageInput } from './image-input.ts'
import { PixelBatch } from './pixels.ts'
import { costOf } from './planning.ts'
import { choosePooling } from './pooling.ts'
import type { Strategy } from './strategy.ts'

const SIZES_INPUT = 'image_sizes'

/**
 * For models that vitpass has made padding-proof: images of nearly equal size run together, padded. Each is cut to whole patches, as the
 * model does. Where the model finds an image's size in its pixels, one whose last rows or columns of patches look like padding is
 * marked so that it keeps them (`EdgeKeeper`); `image_sizes` is used where the model has it.
 *
 * A model without `posenc` puts the positions of the padded size on every image, and one without `zero` that has tokens behind the
 * patches leaves padding before them: there, only images of equal size run together.
 */
export function maskedStrategy(model: EncoderModel, options: StrategyOptions): Strategy | string {
  const { validity, passes, suffix } = model.applied
  if (validity === null || !passes.includes('mask')) return 'vitpass has not made it padding-proof'
  const sizesInput = validity.source === 'sizes' ? SIZES_INPUT : null
  const input = findImageInput(model, sizesInput === null ? [] : [sizesInput])
  if (typeof input === 'string') return input
  const { patch } = model
  if (patch === null) return 'no patch embedding was found behind its image input'
  const pooling = choosePooling(model, options.output)
  if (typeof pooling === 'string') return pooling

  const edges = sizesInput === null ? new EdgeKeeper(validity, input.type, patch) : null
  const positioned = passes.includes('posenc')
  // Where padding is not zero, tokens behind it cannot be told from it.
  const exact = !positioned || (suffix > 0 && !passes.includes('zero'))
  const fixed = input.height === null || input.width === null ? null : { height: input.height, width: input.width }
  const batchImages = input.batch ?? Number.POSITIVE_INFINITY
  const hinted = exact ? [] : (readHints(model.metadata.get(HINTS_KEY))?.buckets ?? [])
  const bytesPerToken = patch.height * patch.width * (input.channels ?? 3) * 4
  const planOptions = {
    ...costOf(model, pooling.features),
    cell: patch,
    tokensPerCell: 1,
    extraTokens: 1,
    batchTokens: Math.min(options.batchTokens, options.batchBytes / bytesPerToken),
    batchImages,
    maxPadding: exact ? 0 : options.maxPadding,
    lanes: options.lanes,
    buckets: fixed === null ? hinted : [{ ...fixed, batch: batchImages }],
  }
  const whole = ({ height, width }: Size): Size => {
    return { height: height - (height % patch.height), width: width - (width % patch.width) }
  }
  const gridOf = ({ height, width }: Size): { rows: number; cols: number } => {
    return { rows: Math.floor(height / patch.height), cols: Math.floor(width / patch.width) }
  }
  return {
    kind: 'masked',
    why: exact
      ? `the model masks padding, but ${positioned ? 'other tokens stand behind the patches (pass zero has not run)' : 'its positions are those of the padded size (pass posenc has not run)'}, so only images of equal size run together`
      : `vitpass has made the model padding-proof (it tells padding by ${validity.source === 'sizes' ? SIZES_INPUT : 'the pixels'})`,
    channels: input.channels,
    outputs: [pooling.output],
    features: pooling.features,
    refuses(size) {
      if (size.height < patch.height || size.width < patch.width)
        return `it is smaller than a patch of ${patch.height}x${patch.width}`
      if (fixed !== null && (size.height > fixed.height || size.width > fixed.width))
        return `the model takes images up to ${fixed.height}x${fixed.width} only`
      return null
    },
    ...(edges === null ? {} : { objects: (image) => edges.objects(image, whole(image)) }),
    plan: (sizes) =>
      planBatches(sizes, planOptions).map((batch) => ({
        ...batch,
        sizes: batch.members.map((member) => sizes[member] ?? batch),
      })),
    *feeds({ members, sizes, height, width }, images, allocate) {
      const channels = images[members[0] ?? 0]?.channels ?? 0
      const count = input.batch ?? members.length
      const data = allocate(input.type, count * channels * height * width)
      const pixels = new PixelBatch(input.type, data, [count, channels, height, width])
      if (edges !== null && validity.padValue !== 0) pixels.fill(validity.padValue)
      for (const [i, member] of members.entries()) {
        const image = images[member]
        if (image === undefined) continue
        yield* pixels.write(image, i, whole(image))
        if (edges?.loses(image, whole(image))) edges.mark(pixels, i, whole(image))
      }
      if (sizesInput === null) return { [input.name]: pixels.tensor }
      const lengths = allocate('int64', 2 * count)
      for (const [i, size] of sizes.entries()) {
        lengths[2 * i] = BigInt(whole(size).height)
        lengths[2 * i + 1] = BigInt(whole(size).width)
      }
      return { [input.name]: pixels.tensor, [sizesInput]: { type: 'int64', data: lengths, dims: [count, 2] } }
    },
    rows(outputs, { height, width, sizes }) {
      const padded = gridOf({ height, width })
      const how = { zeroed: passes.includes('zero'), sparse: validity.mode === 'patch' }
      return sizes.map((size, i) => pooling.row(outputs, i, { padded, own: gridOf(size), ...how }))
    },
  }
}
