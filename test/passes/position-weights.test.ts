import { describe, expect, it } from 'vitest'
import { RESIZE_KINDS, type ResizeKind } from '../../src/analysis/resize-kind.ts'
import type { Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import { resizeWeights, tableMargin } from '../../src/rewrite/position-weights.ts'
import { compute, sketch } from '../support/graphs.ts'
import { resampling } from '../support/resampling.ts'
import type { Dense } from '../support/safetensors.ts'

const NATIVES = [1, 2, 3, 4, 7, 11, 14, 16, 24, 32, 37]
const LENGTHS = [1, 2, 3, 4, 5, 7, 8, 13, 14, 16, 17, 24, 31, 37, 38, 64, 99, 100, 130]
/** Positions of the padded grid: a few more than the longest image. */
const PADDED = 133

/** Weights for all lengths in one batch, for every native length: [lengths, padded, native + 2 margin] each. */
async function weightsOf(kind: ResizeKind, offset: number, opset: number): Promise<Map<string, Dense>> {
  const { model } = sketch(opset, { lengths: ['batch'], index: ['positions'] }, (b: Builder, inputs) => {
    const [lengths, index] = inputs as [Value, Value]
    const length = b.unsqueeze(lengths, { axes: [1, 2] })
    const added = offset === 0 ? null : b.mul(b.float(offset), b.div(length, length))
    return NATIVES.map((native) => resizeWeights(b, { kind, native, length, index, offset: added }))
  })
  return compute(model, {
    lengths: { data: Float32Array.from(LENGTHS), dims: [LENGTHS.length] },
    index: { data: Float32Array.from({ length: PADDED }, (_, i) => i), dims: [PADDED] },
  })
}

/** What each entry of the table itself contributes: the margin is the edge, repeated. */
function foldMargin(row: Float32Array, margin: number, native: number): Float64Array {
  const folded = new Float64Array(native)
  for (const [j, weight] of row.entries()) {
    const entry = Math.min(native - 1, Math.max(0, j - margin))
    folded[entry] = (folded[entry] ?? 0) + weight
  }
  return folded
}

describe.each(RESIZE_KINDS)('%s weights', (kind) => {
  it.each([
    [0, 17],
    [0, 11],
    [0.1, 17],
  ])('are those of PyTorch for every length, with %d added, at opset %i', async (offset, opset) => {
    const computed = await weightsOf(kind, offset, opset)
    const margin = tableMargin(kind)
    let [worst, padding] = [0, 0]
    for (const [n, native] of NATIVES.entries()) {
      const { data, dims } = computed.get(`y${n}`) ?? expect.fail('an output is missing')
      const width = native + 2 * margin
      expect(dims).toEqual([LENGTHS.length, PADDED, width])
      for (const [b, length] of LENGTHS.entries()) {
        const wanted = resampling(kind, native, length, offset)
        for (let i = 0; i < PADDED; i += 1) {
          const row = data.subarray((b * PADDED + i) * width, (b * PADDED + i + 1) * width)
          const taps = wanted[i]
          if (taps === undefined) {
            for (const weight of row) padding = Math.max(padding, Object.is(weight, Number.NaN) ? 1 : Math.abs(weight))
            continue
          }
          const folded = foldMargin(row, margin, native)
          for (const [j, weight] of folded.entries()) {
            const difference = Math.abs(weight - (taps[j] ?? Number.NaN))
            worst = Math.max(worst, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
          }
        }
      }
    }
    expect(worst).toBeLessThan(1e-4)
    expect(padding).toBe(0)
  })

  it('are the identity at the native length, and 0 for an image without patches', async () => {
    const { model } = sketch(17, { lengths: ['batch'], index: ['positions'] }, (b, inputs) => {
      const [lengths, index] = inputs as [Value, Value]
      const length = b.unsqueeze(lengths, { axes: [1, 2] })
      return [resizeWeights(b, { kind, native: 6, length, index, offset: null })]
    })
    const computed = await compute(model, {
      lengths: { data: Float32Array.from([6, 0]), dims: [2] },
      index: { data: Float32Array.from({ length: 8 }, (_, i) => i), dims: [8] },
    })
    const data = computed.get('y0')?.data ?? expect.fail('there is no output')
    const width = 6 + 2 * tableMargin(kind)
    for (let i = 0; i < 6; i += 1) {
      const folded = foldMargin(data.subarray(i * width, (i + 1) * width), tableMargin(kind), 6)
      expect([...folded].map((x) => Math.round(x * 1e6) / 1e6 + 0)).toEqual(
        Array.from({ length: 6 }, (_, j) => Number(i === j)),
      )
    }
    expect(data.subarray(6 * width).every((x) => x === 0)).toBe(true)
  })
})
