import type { Dense } from './safetensors.ts'

/** Rows and columns of patches. */
export interface Grid {
  readonly rows: number
  readonly cols: number
}

/** Height and width in pixels. */
export interface Size {
  readonly height: number
  readonly width: number
}

export function gridOf(size: Size, patch: number): Grid {
  return { rows: Math.floor(size.height / patch), cols: Math.floor(size.width / patch) }
}

/** Images [channels, height, width] at the top left of a canvas filled by `fill` (zero unless given): [batch, channels, height, width]. */
export function padBatch(images: readonly Dense[], canvas: Size, fill: (index: number) => number = () => 0): Dense {
  const channels = images[0]?.dims[0] ?? 0
  const plane = canvas.height * canvas.width
  const data = Float32Array.from({ length: images.length * channels * plane }, (_, i) => fill(i))
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

/** Indices along a padded token axis [prefix + rows x cols] of one image's own tokens, in the order it has alone. */
export function ownTokens(prefix: number, padded: Grid, own: Grid): number[] {
  const indices = Array.from({ length: prefix }, (_, i) => i)
  for (let r = 0; r < own.rows; r++) {
    for (let c = 0; c < own.cols; c++) indices.push(prefix + r * padded.cols + c)
  }
  return indices
}

/** The other indices of the token axis: padding. */
export function paddingTokens(prefix: number, padded: Grid, own: Grid): number[] {
  const all = Array.from({ length: padded.rows * padded.cols }, (_, i) => i + prefix)
  const kept = new Set(ownTokens(prefix, padded, own))
  return all.filter((index) => !kept.has(index))
}

/** Item `b` along the batch axis. */
export function item(batch: Dense, b: number): Dense {
  const dims = batch.dims.slice(1)
  const length = dims.reduce((product, dim) => product * dim, 1)
  return { data: batch.data.subarray(b * length, (b + 1) * length), dims }
}

/**
 * An image's own part of an output without batch axis, as it would be alone: rows of [tokens, width], the query and key
 * block of [heads, tokens, tokens], or all of a pooled [width].
 */
export function ownPart(output: Dense, tokens: readonly number[]): Dense {
  const [heads = 0, length = 0] = output.dims
  if (output.dims.length === 1) return output
  if (output.dims.length === 2) {
    const width = length
    const data = new Float32Array(tokens.length * width)
    tokens.forEach((token, i) => {
      data.set(output.data.subarray(token * width, (token + 1) * width), i * width)
    })
    return { data, dims: [tokens.length, width] }
  }
  const data = new Float32Array(heads * tokens.length * tokens.length)
  let at = 0
  for (let h = 0; h < heads; h++) {
    for (const q of tokens) {
      for (const k of tokens) data[at++] = output.data[(h * length + q) * length + k] ?? Number.NaN
    }
  }
  return { data, dims: [heads, tokens.length, tokens.length] }
}

/** What an output (without batch axis) holds at the given tokens: their rows, and for attentions also their columns. */
export function valuesAt(output: Dense, tokens: readonly number[]): Float32Array {
  const [heads = 0, length = 0] = output.dims
  if (output.dims.length === 1) return new Float32Array(0)
  if (output.dims.length === 2) return ownPart(output, tokens).data
  const chosen = new Set(tokens)
  const values: number[] = []
  for (let h = 0; h < heads; h++) {
    for (let q = 0; q < length; q++) {
      for (let k = 0; k < length; k++) {
        if (chosen.has(q) || chosen.has(k)) values.push(output.data[(h * length + q) * length + k] ?? Number.NaN)
      }
    }
  }
  return Float32Array.from(values)
}
