import type { DType } from '../ir/dtype.ts'
import { fromFloat16Bits, toFloat16Bits } from '../ir/float-bits.ts'
import type { Image, Size } from './image.ts'
import type { HostArrays, HostTensor } from './strategy.ts'

/** Element types in which a model may want its pixels. */
export type PixelType = 'float32' | 'float64' | 'float16' | 'uint8'

const PIXEL_TYPES: Partial<Record<DType, PixelType>> = {
  float: 'float32',
  double: 'float64',
  float16: 'float16',
  uint8: 'uint8',
}

/** The type of pixels that an input takes, by its ONNX type; undefined where no image can be fed to it. */
export function pixelType(dtype: DType): PixelType | undefined {
  return PIXEL_TYPES[dtype]
}

/** Elements copied between two chances for the event loop to turn: under a millisecond. */
const SLICE = 1 << 18

/** Images of one size in a row: [images, channels, height, width]. */
export class PixelBatch<T extends PixelType = PixelType> {
  readonly type: T
  readonly data: HostArrays[T]
  readonly dims: readonly [number, number, number, number]

  constructor(type: T, data: HostArrays[T], dims: readonly [number, number, number, number]) {
    this.type = type
    this.data = data
    this.dims = dims
  }

  get tensor(): HostTensor {
    // The compiler does not follow that `type` and `data` belong together.
    return { type: this.type, data: this.data, dims: this.dims } as HostTensor
  }

  /** Sets every element to a value. */
  fill(value: number): void {
    this.data.fill(this.encode(value))
  }

  /** Puts the upper left part of an image at the upper left of item `index`; it yields between slices. */
  *write(image: Image, index: number, part: Size): Generator<undefined, void, undefined> {
    const [, channels, height, width] = this.dims
    const whole = part.width === width && part.width === image.width
    let copied = 0
    for (let c = 0; c < channels; c++) {
      let from = c * image.height * image.width
      let to = (index * channels + c) * height * width
      const rowsAtOnce = whole ? Math.max(1, Math.floor(SLICE / width)) : 1
      for (let y = 0; y < part.height; y += rowsAtOnce) {
        const rows = Math.min(rowsAtOnce, part.height - y)
        const length = whole ? rows * width : part.width
        this.copy(image.data.subarray(from, from + length), to)
        from += rows * image.width
        to += rows * width
        copied += length
        if (copied < SLICE) continue
        copied = 0
        yield
      }
    }
  }

  /** The value of a pixel as the model will see it. */
  at(index: number, channel: number, y: number, x: number): number {
    return this.decode(this.data[this.offset(index, channel, y, x)] ?? 0)
  }

  set(index: number, channel: number, y: number, x: number, value: number): void {
    this.data[this.offset(index, channel, y, x)] = this.encode(value)
  }

  private offset(index: number, channel: number, y: number, x: number): number {
    const [, channels, height, width] = this.dims
    return ((index * channels + channel) * height + y) * width + x
  }

  private copy(values: Float32Array, to: number): void {
    if (this.type === 'float32' || this.type === 'float64') return this.data.set(values, to)
    for (let i = 0; i < values.length; i++) this.data[to + i] = this.encode(values[i] ?? 0)
  }

  private encode(value: number): number {
    if (this.type === 'float16') return toFloat16Bits(value)
    return this.type === 'uint8' ? Math.min(255, Math.max(0, Math.round(value))) : value
  }

  private decode(stored: number): number {
    return this.type === 'float16' ? fromFloat16Bits(stored) : stored
  }
}
