import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { callCost, estimateCost, fitCost, gridOf, imageCost, tokensOf } from '../../src/batching/cost.ts'

describe('tokens', () => {
  it('counts begun patches as whole ones', () => {
    const patch = { height: 16, width: 14 }
    expect(gridOf({ height: 32, width: 28 }, patch)).toEqual({ rows: 2, cols: 2 })
    expect(gridOf({ height: 33, width: 29 }, patch)).toEqual({ rows: 3, cols: 3 })
    expect(tokensOf({ height: 1, width: 29 }, { patch, prefix: 5 })).toBe(8)
  })
})

describe('estimateCost', () => {
  it('counts the operations of ViT-base at 224 pixels as published: 17.6 G multiply-adds', () => {
    const cost = estimateCost({ hidden: 768, weights: 12 * 12 * 768 ** 2 + 3 * 16 * 16 * 768 })
    expect(imageCost(197, cost) / 2 / 1e9).toBeCloseTo(17.6, 1)
  })
})

describe('fitCost', () => {
  const shapes = [
    [1, 5],
    [1, 20],
    [1, 80],
    [2, 40],
    [4, 20],
    [2, 160],
  ] as const

  it('finds the constants of calls that follow them', () => {
    const constant = fc.double({ min: 1e-7, max: 1e-5, noNaN: true })
    fc.assert(
      fc.property(constant, constant, constant, (linear, attention, call) => {
        const cost = { linear, attention: attention / 50, call: call * 50 }
        const fitted = fitCost(
          shapes.map(([images, tokens]) => ({ images, tokens, seconds: callCost(images, tokens, cost) })),
        )
        for (const key of ['linear', 'attention', 'call'] as const) expect(fitted[key] / cost[key]).toBeCloseTo(1, 5)
      }),
    )
  })

  it('gives no constant below 0, and none that fits better than its own', () => {
    const seconds = fc.double({ min: 1e-4, max: 1, noNaN: true })
    fc.assert(
      fc.property(
        fc.tuple(...shapes.map(() => seconds)),
        fc.array(fc.double({ min: 0, max: 2, noNaN: true }), { minLength: 3, maxLength: 3 }),
        (times, factors) => {
          const calls = shapes.map(([images, tokens], i) => ({ images, tokens, seconds: times[i] ?? 1 }))
          const error = (cost: { linear: number; attention: number; call: number }): number =>
            calls.reduce(
              (sum, { images, tokens, seconds }) => sum + (callCost(images, tokens, cost) / seconds - 1) ** 2,
              0,
            )
          const fitted = fitCost(calls)
          expect(Math.min(fitted.linear, fitted.attention, fitted.call)).toBeGreaterThanOrEqual(0)
          const [a = 1, b = 1, c = 1] = factors
          const other = {
            linear: fitted.linear * a + b * 1e-6,
            attention: fitted.attention * b + c * 1e-8,
            call: fitted.call * c + a * 1e-5,
          }
          expect(error(fitted)).toBeLessThanOrEqual(error(other) * (1 + 1e-9))
        },
      ),
    )
  })

  it('takes one size for a cost by token, and nothing for nothing', () => {
    const cost = fitCost([{ images: 1, tokens: 10, seconds: 1 }])
    expect(callCost(1, 10, cost)).toBeCloseTo(1, 9)
    expect(fitCost([])).toEqual({ linear: 0, attention: 0, call: 0 })
  })
})
