import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import { decodeImage } from '../../src/runtime/decode.ts'
import { preprocess } from '../../src/runtime/preprocess.ts'
import { type ConfigOptions, readPreprocessing } from '../../src/runtime/preprocessor-config.ts'
import { targetSize } from '../../src/runtime/resize-policy.ts'
import { expectedImage, farthest, IMAGES, imageCases } from '../support/images.ts'

/** A config that is complete. */
const VIT = {
  image_processor_type: 'ViTImageProcessor',
  do_resize: true,
  size: { height: 224, width: 224 },
  resample: 2,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
}

function refusal(config: unknown, options?: ConfigOptions): VitpassError {
  try {
    readPreprocessing(config, options)
  } catch (error) {
    if (error instanceof VitpassError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('preprocess', () => {
  it.each(imageCases.prepared)('gives what transformers gives: $name', async ({ name, config, size, rows }) => {
    const { data, channels, height, width } = await preprocess(
      await decodeImage(join(IMAGES, 'plain.png')),
      readPreprocessing(config),
    )
    expect([channels, height, width]).toEqual([3, ...size])
    const kept = rows ?? Array.from({ length: height }, (_, row) => row)
    const seen = [0, 1, 2].flatMap((channel) =>
      kept.flatMap((row) => Array.from(data.subarray((channel * height + row) * width).subarray(0, width))),
    )
    // Where floats are resized, torch sums them in another order.
    const tolerance = name.startsWith('dinov3') ? 1e-5 : 1e-6
    expect(farthest(seen, expectedImage(`prepared.${name}`).data)).toBeLessThan(tolerance)
  })

  it('keeps the size where it is asked to, whatever the file says of sizes', async () => {
    const config = { ...VIT, do_center_crop: true, crop_size: 30, do_pad: true, size_divisor: 32, resample: 'odd' }
    const { height, width, data } = await preprocess(
      await decodeImage(join(IMAGES, 'plain.png')),
      readPreprocessing(config, { keepSize: true }),
    )
    expect([height, width]).toEqual([30, 43])
    expect(farthest(data, expectedImage('prepared.kept').data)).toBeLessThan(1e-6)
  })
})

describe('readPreprocessing', () => {
  it.each([
    [
      { ...VIT, size: 224 },
      { kind: 'exact', height: 224, width: 224 },
    ],
    [
      { ...VIT, size: [32, 48] },
      { kind: 'exact', height: 32, width: 48 },
    ],
    [
      { ...VIT, size: 224, image_processor_type: 'CLIPImageProcessorFast' },
      { kind: 'shortest', shortest: 224 },
    ],
    [
      { ...VIT, size: 30, default_to_square: false },
      { kind: 'shortest', shortest: 30 },
    ],
    [
      { ...VIT, size: { shortest_edge: 8, longest_edge: 9 } },
      { kind: 'shortest', shortest: 8, longest: 9 },
    ],
    [
      { ...VIT, size: { longest_edge: 9, shortest_edge: null } },
      { kind: 'longest', longest: 9 },
    ],
    [
      { ...VIT, size: { max_height: 8, max_width: 9 } },
      { kind: 'fit', maxHeight: 8, maxWidth: 9 },
    ],
    [
      { image_processor: VIT, tokenizer: 'x' },
      { kind: 'exact', height: 224, width: 224 },
    ],
  ])('reads sizes of the form %j', (config, policy) => {
    expect(readPreprocessing(config).resize?.to).toEqual(policy)
  })

  it('takes old files, which do not mention scaling', () => {
    const { scale, resize, crop } = readPreprocessing({
      feature_extractor_type: 'CLIPFeatureExtractor',
      size: 224,
      resample: 3,
      do_center_crop: true,
      crop_size: 224,
      image_mean: [0.48, 0.45, 0.4],
      image_std: [0.26, 0.26, 0.27],
    })
    expect(scale).toBe(1 / 255)
    expect(resize).toEqual({ to: { kind: 'shortest', shortest: 224 }, filter: 'bicubic', floats: false })
    expect(crop).toEqual({ height: 224, width: 224 })
  })

  it.each([
    ['do_pad', { do_pad: true }],
    ['size_divisor', { size_divisor: 32 }],
    ['do_something_new', { do_something_new: true }],
    ['crop_pct', { crop_pct: 0.9 }],
    ['image_processor_type of Levit', { image_processor_type: 'LevitImageProcessor' }],
    ['image_processor_type of EfficientNet', { image_processor_type: 'EfficientNetImageProcessor' }],
    ['size with height', { size: { height: 3 } }],
    ['size is 224', { size: 224, image_processor_type: 'OtherImageProcessor' }],
    ['max_size', { size: 224, max_size: 300 }],
  ])('refuses what it does not know: %s', (named, fields) => {
    const { code, message, remedy } = refusal({ ...VIT, ...fields })
    expect(code).toBe('CONFIG_UNSUPPORTED')
    expect(message.startsWith(named)).toBe(true)
    expect(remedy).toMatch(/./)
  })

  it('refuses what touches colours even where the size is kept', () => {
    expect(refusal({ ...VIT, do_something_new: true }, { keepSize: true }).code).toBe('CONFIG_UNSUPPORTED')
  })

  it.each([
    ['image_mean', { image_mean: [0.5, 0.5] }],
    ['image_std', { image_std: [0.5, 0, 0.5] }],
    ['image_std', { image_std: 0 }],
    ['image_mean', { image_mean: undefined, do_normalize: true }],
    ['resample', { resample: 9 }],
    ['resample', { resample: undefined }],
    ['size', { size: undefined, do_resize: true }],
    ['size', { size: { height: 0, width: 4 } }],
    ['crop_size', { do_center_crop: true }],
    ['rescale_factor', { rescale_factor: 'x' }],
    ['do_resize', { do_resize: 'yes' }],
  ])('refuses %s in a form that it cannot have', (named, fields) => {
    const { code, message, where } = refusal({ ...VIT, ...fields }, { where: 'p.json' })
    expect(code).toBe('CONFIG_INVALID')
    expect(message.startsWith(named)).toBe(true)
    expect(where).toBe('p.json')
  })

  it.each([[null], ['text'], [[1, 2]]])('refuses %j altogether', (config) => {
    expect(refusal(config).code).toBe('CONFIG_INVALID')
  })
})

describe('targetSize', () => {
  it('never makes a side 0', () => {
    const strip = { height: 2, width: 4000 }
    expect(targetSize({ kind: 'longest', longest: 100 }, strip)).toEqual({ height: 1, width: 100 })
    expect(targetSize({ kind: 'fit', maxHeight: 100, maxWidth: 100 }, strip)).toEqual({ height: 1, width: 100 })
    expect(targetSize({ kind: 'shortest', shortest: 10, longest: 100 }, strip)).toEqual({ height: 1, width: 100 })
  })
})
