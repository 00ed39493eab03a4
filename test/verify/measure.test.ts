import { describe, expect, it } from 'vitest'
import { measure, unitsOf, Worst } from '../../src/verify/measure.ts'

const dense = (...data: number[]) => ({ data: Float32Array.from(data), dims: [data.length] })
const NAMES = { name: 'y', of: '64x64' }

describe('the worst difference', () => {
  it('is the largest, with its place and both values', () => {
    const worst = new Worst()
    worst.compare(
      { data: Float32Array.of(1, 2, 3, 4), dims: [2, 2] },
      { data: Float32Array.of(1, 2, 2.5, 4.25), dims: [2, 2] },
      NAMES,
    )
    expect(worst.value).toBe(0.5)
    expect(worst.at).toBe('y[1, 0] of 64x64 is 3 instead of 2.5')
  })

  it.each([
    ['another shape', { data: Float32Array.of(1, 2), dims: [2, 1] }, 'y of 64x64 is [2, 1] instead of [2]'],
    ['no number', dense(1, Number.NaN), 'y[1] of 64x64 is NaN instead of 2'],
    ['an infinite number', dense(Number.POSITIVE_INFINITY, 2), 'y[0] of 64x64 is Infinity instead of 1'],
  ])('of %s is infinite', (_, actual, at) => {
    const worst = new Worst()
    worst.compare(actual, dense(1, 2), NAMES)
    expect(worst.value).toBe(Number.POSITIVE_INFINITY)
    expect(worst.at).toBe(at)
  })

  it('is absolute for values of order one and relative beyond, without blaming small ones among large', () => {
    expect(unitsOf(dense(0.1, -0.2))(0.1)).toBe(1)
    expect(unitsOf(dense(0.1, 50))(50)).toBe(50)
    expect(unitsOf(dense(30, 40))(0.01)).toBeCloseTo(Math.sqrt(1250), 10)
  })

  it('fails a measure that throws, in one line', async () => {
    const measured = await measure('runs', 1, () => Promise.reject(new Error('one\n  two')))
    expect(measured).toEqual({ name: 'runs', worst: Number.POSITIVE_INFINITY, tolerance: 1, ok: false, at: 'one two' })
  })
})
