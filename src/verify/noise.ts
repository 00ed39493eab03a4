import type { Size } from '../runtime/image.ts'
import type { Dense } from '../runtime/session.ts'

/** Normally distributed numbers (mean 0, deviation 1), the same for the same seed. */
export function normals(seed: number): () => number {
  let state = seed >>> 0
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}

/** Draws pixels: N(0, 1), or whole numbers from 1 to 255 for an image of bytes (`uint8`). */
export function pixelNoise(type: string, seed: number): () => number {
  const next = normals(seed)
  return type === 'uint8' ? () => Math.min(255, Math.max(1, Math.round(128 + 60 * next()))) : next
}

/** An image [channels, height, width] of drawn pixels. */
export function drawImage(channels: number, size: Size, draw: () => number): Dense {
  const { height, width } = size
  return { data: Float32Array.from({ length: channels * height * width }, draw), dims: [channels, height, width] }
}

/** The same image with one patch, counted in reading order on a grid of `cols` columns, filled with one value. */
export function fillPatch(
  image: Dense,
  patch: Size,
  at: { readonly row: number; readonly col: number },
  value: number,
): Dense {
  const [channels = 0, height = 0, width = 0] = image.dims
  const data = Float32Array.from(image.data)
  for (let c = 0; c < channels; c++) {
    for (let y = at.row * patch.height; y < (at.row + 1) * patch.height; y++) {
      const start = (c * height + y) * width + at.col * patch.width
      data.fill(value, start, start + patch.width)
    }
  }
  return { data, dims: image.dims }
}
