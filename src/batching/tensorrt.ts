import type { Bucket } from './hints.ts'

/** An input of the model: its name, and its axes as lengths or as what they follow. */
export interface ProfileInput {
  readonly name: string
  readonly axes: readonly (number | 'batch' | 'height' | 'width')[]
}

/** Options of ONNX Runtime's TensorRT provider, by name. */
export interface TensorrtProfile {
  readonly trt_profile_min_shapes: string
  readonly trt_profile_opt_shapes: string
  readonly trt_profile_max_shapes: string
}

/**
 * One optimisation profile for each bucket: its height and width, and any number of images up to its batch, best for full ones. ONNX Runtime takes
 * several profiles as an input's shapes named one after the other (`input:8x3x224x224,input:4x3x384x384`), in the same order in all
 * three options.
 */
export function tensorrtProfile(inputs: readonly ProfileInput[], buckets: readonly Bucket[]): TensorrtProfile {
  const shapes = (batchOf: (bucket: Bucket) => number): string =>
    buckets
      .flatMap((bucket) => {
        const lengths = { ...bucket, batch: batchOf(bucket) }
        return inputs.map(({ name, axes }) => {
          return `${name}:${axes.map((axis) => (typeof axis === 'number' ? axis : lengths[axis])).join('x')}`
        })
      })
      .join(',')
  return {
    trt_profile_min_shapes: shapes(() => 1),
    trt_profile_opt_shapes: shapes(({ batch }) => batch),
    trt_profile_max_shapes: shapes(({ batch }) => batch),
  }
}
