import type { Size } from './image.ts'

/** Names of Pillow's filters, by the number that `preprocessor_config.json` has for them. */
export const FILTERS = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'] as const

export type Filter = (typeof FILTERS)[number]

/** Bytes or floats of an image, [height, width, channels]. */
export interface Raster<T extends Uint8Array | Float32Array = Uint8Array> extends Size {
  readonly data: T
  readonly channels: number
}

/** Between two breaths of the event loop, in multiplications: a few milliseconds. */
const BREATH = 4_000_000

/** Bits after the point of a weight for bytes, as Pillow has it: 32 bits hold the sum. */
const FRACTION = 22

interface Kernel {
  /** How far it reaches, in pixels of the larger of the two images. */
  readonly reach: number
  readonly weight: (distance: number) => number
}

const KERNELS: Readonly<Record<Exclude<Filter, 'nearest'>, Kernel>> = {
  box: { reach: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { reach: 1, weight: (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0) },
  bicubic: { reach: 2, weight: (x) => cubic(Math.abs(x)) },
  lanczos: { reach: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
}

/** Keys' cubic, with a = -0.5. */
function cubic(x: number): number {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0
}

/** The pixels that one pixel of the result is made of. */
interface Taps {
  /** First pixel, and how many follow, for each pixel of the result. */
  readonly start: Int32Array
  readonly count: Int32Array
  /** `stride` weights for each pixel of the result, which add up to 1. */
  readonly weights: Float64Array
  readonly stride: number
}

/**
 * Resizes as Pillow does: a separable filter that widens with the reduction, rows first, bytes rounded after each of the two passes. Bytes
 * come out as from `PIL.Image.resize`; floats (never rounded) as from `torch.nn.functional.interpolate` with antialias, up to its rounding.
 * It lets the event loop turn every few milliseconds. The result may share its data with the argument where nothing is to be done.
 */
export async function resample<T extends Uint8Array | Float32Array>(
  image: Raster<T>,
  size: Size,
  filter: Filter,
): Promise<Raster<T>> {
  if (filter === 'nearest') return pickNearest(image, size)
  const kernel = KERNELS[filter]
  let result = image
  if (size.width !== image.width) result = await alongRows(result, tapsOf(image.width, size.width, kernel))
  if (size.height !== image.height) result = await alongColumns(result, tapsOf(image.height, size.height, kernel))
  return result
}

function tapsOf(from: number, to: number, { reach, weight }: Kernel): Taps {
  const scale = from / to
  const widening = Math.max(scale, 1)
  const support = reach * widening
  const stride = Math.ceil(support) * 2 + 1
  const start = new Int32Array(to)
  const count = new Int32Array(to)
  const weights = new Float64Array(to * stride)
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale
    const first = Math.max(0, Math.trunc(center - support + 0.5))
    const taps = Math.min(from, Math.trunc(center + support + 0.5)) - first
    let sum = 0
    for (let tap = 0; tap < taps; tap++) {
      const value = weight((first + tap - center + 0.5) / widening)
      weights[i * stride + tap] = value
      sum += value
    }
    if (sum !== 0)
      for (let tap = 0; tap < taps; tap++) weights[i * stride + tap] = (weights[i * stride + tap] ?? 0) / sum
    start[i] = first
    count[i] = taps
  }
  return { start, count, weights, stride }
}

async function alongRows<T extends Uint8Array | Float32Array>(image: Raster<T>, taps: Taps): Promise<Raster<T>> {
  const { height, width, channels, data } = image
  const to = taps.start.length
  const out = emptyLike(data, height * to * channels)
  const combine = combiner(data, out, taps)
  let work = 0
  for (let row = 0; row < height; row++) {
    const from = row * width * channels
    for (let col = 0; col < to; col++) {
      const first = from + (taps.start[col] ?? 0) * channels
      for (let channel = 0; channel < channels; channel++) {
        combine((row * to + col) * channels + channel, first + channel, channels, col)
      }
    }
    work += to * channels * taps.stride
    if (work > BREATH) work = await breathe()
  }
  return { data: out, height, width: to, channels }
}

async function alongColumns<T extends Uint8Array | Float32Array>(image: Raster<T>, taps: Taps): Promise<Raster<T>> {
  const { width, channels, data } = image
  const to = taps.start.length
  const step = width * channels
  const out = emptyLike(data, to * step)
  const combine = combiner(data, out, taps)
  let work = 0
  for (let row = 0; row < to; row++) {
    const first = (taps.start[row] ?? 0) * step
    for (let i = 0; i < step; i++) combine(row * step + i, first + i, step, row)
    work += step * taps.stride
    if (work > BREATH) work = await breathe()
  }
  return { data: out, height: to, width, channels }
}

/** Writes to `out[at]` the weighted sum of the values at `first`, `first + step`, ... for the pixel `index` along the axis. */
type Combine = (at: number, first: number, step: number, index: number) => void

function combiner(data: Uint8Array | Float32Array, out: Uint8Array | Float32Array, taps: Taps): Combine {
  const { count, stride, weights } = taps
  if (data instanceof Float32Array) {
    return (at, first, step, index) => {
      let sum = 0
      const base = index * stride
      const n = count[index] ?? 0
      for (let tap = 0; tap < n; tap++) sum += (data[first + tap * step] ?? 0) * (weights[base + tap] ?? 0)
      out[at] = sum
    }
  }
  const fixed = Int32Array.from(weights, (weight) => Math.trunc(weight * 2 ** FRACTION + (weight < 0 ? -0.5 : 0.5)))
  return (at, first, step, index) => {
    let sum = 1 << (FRACTION - 1)
    const base = index * stride
    const n = count[index] ?? 0
    for (let tap = 0; tap < n; tap++) sum += Math.imul(data[first + tap * step] ?? 0, fixed[base + tap] ?? 0)
    const value = sum >> FRACTION
    out[at] = Math.max(0, Math.min(value, 255))
  }
}

function pickNearest<T extends Uint8Array | Float32Array>(image: Raster<T>, { height, width }: Size): Raster<T> {
  const { channels, data } = image
  const out = emptyLike(data, height * width * channels)
  const rows = nearestOf(image.height, height)
  const cols = nearestOf(image.width, width)
  for (let row = 0; row < height; row++) {
    for (let col = 0; col < width; col++) {
      const source = ((rows[row] ?? 0) * image.width + (cols[col] ?? 0)) * channels
      const target = (row * width + col) * channels
      for (let channel = 0; channel < channels; channel++) out[target + channel] = data[source + channel] ?? 0
    }
  }
  return { data: out, height, width, channels }
}

/** The pixel below each pixel's centre. Pillow adds the step up, and its rounding decides where a centre falls between two pixels. */
function nearestOf(from: number, to: number): Int32Array {
  const step = from / to
  let position = step * 0.5
  return Int32Array.from({ length: to }, () => {
    const pixel = Math.min(Math.trunc(position), from - 1)
    position += step
    return pixel
  })
}

/** Zeros in an array of the same kind. */
export function emptyLike<T extends Uint8Array | Float32Array>(data: T, length: number): T
export function emptyLike(data: Uint8Array | Float32Array, length: number): Uint8Array | Float32Array {
  return data instanceof Float32Array ? new Float32Array(length) : new Uint8Array(length)
}

async function breathe(): Promise<number> {
  await new Promise((resolve) => setImmediate(resolve))
  return 0
}
