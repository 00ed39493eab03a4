import type { Dense } from './safetensors.ts'

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

/** An image [channels, height, width] of N(0, 1) pixels. */
export function noiseImage(channels: number, height: number, width: number, seed: number): Dense {
  const next = normals(seed)
  return { data: Float32Array.from({ length: channels * height * width }, next), dims: [channels, height, width] }
}
