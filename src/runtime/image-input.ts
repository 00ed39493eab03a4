import type { EncoderModel, Port } from './encoder-model.ts'
import { type PixelType, pixelType } from './pixels.ts'

/** What a model's image input [batch, channels, height, width] takes; null stands for any length. */
export interface ImageInput {
  readonly name: string
  readonly type: PixelType
  readonly batch: number | null
  readonly channels: number | null
  readonly height: number | null
  readonly width: number | null
  /** Height and width have one name. */
  readonly square: boolean
}

/** Finds the one image input; `others` are names that the strategy feeds besides. A text where the model takes something else. */
export function findImageInput(model: EncoderModel, others: readonly string[] = []): ImageInput | string {
  const [port, ...more] = model.inputs.filter(({ name }) => !others.includes(name))
  if (port === undefined) return 'it has no input'
  if (more.length > 0) return `it takes several inputs: ${model.inputs.map(describePort).join(', ')}`
  const type = pixelType(port.dtype)
  const dims = port.dims ?? [null, null, null, null]
  if (type === undefined || dims.length !== 4) return `its input ${describePort(port)} is no image`
  const [batch, channels, height, width] = dims.map((dim) => (typeof dim === 'number' && dim > 0 ? dim : null))
  if (
    channels !== null &&
    channels !== undefined &&
    channels > 16 &&
    width !== null &&
    width !== undefined &&
    width <= 4
  ) {
    return `its input ${describePort(port)} has its channels last`
  }
  return {
    name: port.name,
    type,
    batch: batch ?? null,
    channels: channels ?? null,
    height: height ?? null,
    width: width ?? null,
    square: typeof dims[2] === 'string' && dims[2] !== '' && dims[2] === dims[3],
  }
}

function describePort({ name, dtype, dims }: Port): string {
  return `${name} (${dtype} ${dims === null ? 'of any rank' : `[${dims.map((dim) => dim ?? '?').join(', ')}]`})`
}
