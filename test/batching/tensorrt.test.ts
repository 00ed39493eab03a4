import { expect, it } from 'vitest'
import { tensorrtProfile } from '../../src/batching/tensorrt.ts'

it('names every input of every bucket, in one order, for one image up to a full batch', () => {
  const inputs = [
    { name: 'pixel_values', axes: ['batch', 3, 'height', 'width'] },
    { name: 'image_sizes', axes: ['batch', 2] },
  ] as const
  const buckets = [
    { height: 224, width: 160, batch: 8 },
    { height: 224, width: 224, batch: 4 },
  ]
  const full = 'pixel_values:8x3x224x160,image_sizes:8x2,pixel_values:4x3x224x224,image_sizes:4x2'
  expect(tensorrtProfile(inputs, buckets)).toEqual({
    trt_profile_min_shapes: 'pixel_values:1x3x224x160,image_sizes:1x2,pixel_values:1x3x224x224,image_sizes:1x2',
    trt_profile_opt_shapes: full,
    trt_profile_max_shapes: full,
  })
})
