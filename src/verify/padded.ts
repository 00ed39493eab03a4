import type { Size } from '../runtime/image.ts'
import type { Dense } from '../runtime/session.ts'

/** Rows and columns of patches. */
export interface Grid {
  readonly rows: number
  readonly cols: number
}

/** Whole patches in a size. */
export function gridOf(size: Size, patch: Size): Grid {
  return { rows: Math.floor(size.height / patch.height), cols: Math.floor(size.width / patch.width) }
}

/**
 * Images [channels, height, width] at the top left of one canvas each: [batch, channels, height, width].
 * Outside the images stands zero, or what `fill` draws.
 */
export function padBatch(images: readonly Dense[], canvas: Size, fill: () => number = () => 0): Dense {
  const channels = images[0]?.dims[0] ?? 0
  const plane = canvas.height * canvas.width
  const data = Float32Array.from({ length: images.length * channels * plane }, fill)
  images.forEach((image, b) => {
    const [, height = 0, width = 0] = image.dims
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        const row = image.data.subarray((c * height + y) * width, (c * height + y + 1) * width)
        data.set(row, (b * channels + c) * plane + y * canvas.width)
      }
    }
  })
  return { data, dims: [images.length, channels, canvas.height, canvas.width] }
}

/** Item `b` along the batch axis. */
export function item(batch: Dense, b: number): Dense {
  const dims = batch.dims.slice(1)
  const length = dims.reduce((product, dim) => product * dim, 1)
  return { data: batch.data.subarray(b * length, (b + 1) * length), dims }
}
