import { describe, expect, it } from 'vitest'
import { attr } from '../../src/ir/attribute.ts'
import type { Value } from '../../src/ir/value.ts'
import { canonicalRules } from '../../src/rewrite/rules/index.ts'
import {
  compute,
  contextOf,
  feedsOf,
  largestDifference,
  operators,
  rewrite,
  type Sketch,
  sketch,
} from '../support/graphs.ts'

interface Turns {
  readonly transA?: number
  readonly transB?: number
  readonly transBatchA?: number
  readonly transBatchB?: number
}

/** A FusedMatMul of [batch, 5, 6] by [batch, 6, 7], its operands stored the way that its attributes undo. */
function product(turns: Turns, alpha: number): Sketch {
  const stored = (rows: number | string, cols: number, trans = 0, transBatch = 0) => {
    const matrix = trans === 1 ? [cols, rows] : [rows, cols]
    return transBatch === 1 ? [matrix[0] as number, 'batch', matrix[1] as number] : ['batch', ...matrix]
  }
  const inputs = { a: stored(5, 6, turns.transA, turns.transBatchA), b: stored(6, 7, turns.transB, turns.transBatchB) }
  const drawn = sketch(17, inputs, (_, [a, b], graph) => {
    const attributes = Object.fromEntries(Object.entries(turns).map(([key, value]) => [key, attr.int(value)]))
    return graph.emit('FusedMatMul', [a as Value, b as Value], {
      domain: 'com.microsoft',
      attributes: { ...attributes, alpha: attr.float(alpha) },
    }) as Value[]
  })
  drawn.model.setOpset('com.microsoft', 1)
  return drawn
}

describe('stacked product', () => {
  it.each([
    [{ transBatchA: 1 }, 1],
    [{ transBatchB: 1, transB: 1 }, 0.25],
    [{ transBatchA: 1, transA: 1, transBatchB: 1 }, 1],
    [{ transBatchA: 1, transBatchB: 1, transB: 1 }, 2],
  ] as const)('writes out operands whose batch stands inside: %j by %d', async (turns, alpha) => {
    const [original, drawn] = [product(turns, alpha), product(turns, alpha)]
    expect(rewrite(drawn, canonicalRules)['stacked product']).toBe(1)
    expect(operators(drawn)).not.toContain('com.microsoft:FusedMatMul')
    const feeds = feedsOf(drawn)
    expect(largestDifference(await compute(original.model, feeds), await compute(drawn.model, feeds))).toBeLessThan(
      1e-5,
    )
    expect(rewrite(drawn, canonicalRules)).toEqual({})
  })

  it('leaves a product alone that hides nothing', () => {
    expect(rewrite(product({ transB: 1 }, 0.5), canonicalRules)['stacked product']).toBeUndefined()
  })

  it('is inferred before it is written out', async () => {
    const drawn = product({ transBatchA: 1, transA: 1, transBatchB: 1 }, 1)
    const [output] = drawn.model.graph.outputs
    const dims = contextOf(drawn).facts.dims(output ?? null)
    const computed = [...(await compute(drawn.model, feedsOf(drawn))).values()][0]
    expect(dims?.map((dim) => dim.n)).toEqual(computed?.dims)
  })
})
