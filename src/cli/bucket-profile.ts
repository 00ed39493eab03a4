import { readAnatomy } from '../analysis/anatomy.ts'
import { callerInputs } from '../analysis/pixels.ts'
import type { Bucket } from '../batching/hints.ts'
import { type ProfileInput, type TensorrtProfile, tensorrtProfile } from '../batching/tensorrt.ts'
import type { Model } from '../ir/model.ts'

/** TensorRT profiles of a model for these buckets; null where an input has axes beside the batch that are no numbers. */
export function profileFor(model: Model, buckets: readonly Bucket[]): TensorrtProfile | null {
  const { input } = readAnatomy(model)
  const inputs = callerInputs(model).map(({ name, declaredDims }): ProfileInput | null => {
    if (name === input.name) return { name, axes: ['batch', input.channels, 'height', 'width'] }
    const [, ...rest] = declaredDims ?? [null, null]
    const lengths = rest.filter((dim) => typeof dim === 'number' && dim > 0)
    return lengths.length === rest.length ? { name, axes: ['batch', ...lengths.map(Number)] } : null
  })
  const known = inputs.filter((profile) => profile !== null)
  return known.length === inputs.length ? tensorrtProfile(known, buckets) : null
}
