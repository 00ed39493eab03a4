import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { trace } from '../../src/analysis/trace.ts'
import type { Value } from '../../src/ir/value.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { attend, drawVit, type Pen, paddedAgainstAlone, WIDTH } from '../support/drawn-vit.ts'

/** A transformer with free sizes but for one Reshape of its tokens, which holds how many there were in the trace. */
function baked(patches: number): (pen: Pen) => Value[] {
  return ({ b, tokens }) => {
    const first = b.transpose(attend(b, tokens), { perm: [1, 0, 2] })
    const heads = b.reshape(first, b.int64([patches, -1, WIDTH / 2]))
    const back = b.reshape(b.transpose(heads, { perm: [1, 0, 2] }), b.int64([-1, 2, patches, WIDTH / 2]))
    return [b.reduceMean(back, { axes: [2], keepdims: 0 })]
  }
}

describe('a number of tokens in one Reshape', () => {
  it.each([
    [15, 3, 5],
    [16, 4, 4],
    [7, 1, 7],
    [24, 4, 6],
  ])('%i: traced on a grid that has as many', (patches, rows, cols) => {
    expect(trace(drawVit(baked(patches))).sizes).toMatchObject({ rows, cols })
  })

  it('is freed, whatever grid it was', async () => {
    const transformed = drawVit(baked(15))
    runPasses(registry, transformed, ['mask'])
    const sizes = [
      { height: 16, width: 16 },
      { height: 8, width: 20 },
      { height: 12, width: 4 },
    ]
    for (const size of sizes) {
      const patches = (size.height * size.width) / 16
      const original = drawVit(baked(patches))
      const { own } = await paddedAgainstAlone({ original, transformed }, { y0: ['fixed', 'fixed'] }, [size])
      expect(own).toBeLessThan(1e-5)
    }
  })

  it('does not pass for another number that divides the tokens of an arbitrary trace', () => {
    const model = drawVit(({ b, tokens }) => [b.relu(b.reshape(tokens, b.int64([-1, 16, WIDTH])))])
    expect(trace(model).sizes).toMatchObject({ rows: 4, cols: 4 })
  })
})
