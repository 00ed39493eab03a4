import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packTokens } from '../../src/runtime/native-plan.ts'
import { NativeRun, nativeExport, OPTIONS } from './native-run.ts'

const lengths = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 80 })

describe('packs', () => {
  it('hold each image once, and no more than they may', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 300 }), (given, most) => {
        const packs = packTokens(given, most)
        expect(packs.flat().sort((a, b) => a - b)).toEqual(given.map((_, i) => i))
        for (const pack of packs) {
          const sum = pack.reduce((total, i) => total + (given[i] ?? 0), 0)
          if (pack.length > 1) expect(sum).toBeLessThanOrEqual(most)
        }
      }),
    )
  })

  it('are few: no two of them would fit into one', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 300 }), (given, most) => {
        const sums = packTokens(given, most).map((pack) => pack.reduce((total, i) => total + (given[i] ?? 0), 0))
        const [first = most, second = most] = sums.toSorted((a, b) => a - b)
        expect(sums.length < 2 || first + second > most).toBe(true)
      }),
    )
  })
})

const side = fc.integer({ min: 4, max: 24 })
const sizes = fc.array(fc.record({ height: side, width: side }), { minLength: 1, maxLength: 40 })

describe.each([
  'navit-p4-g6/dynamo20-naflex.onnx',
  'navit-p4-g6/dynamo20-packed.onnx',
  'idefics2-p4-g6/ts17-pixel-mask-tokens.onnx',
])('batches for %s', (ending) => {
  it('hold each image once, near the tokens allowed, with little padding', async () => {
    const run = await NativeRun.open(nativeExport(ending).path, { batchTokens: 240 })
    const tokens = (size: { height: number; width: number }): number =>
      Math.floor(size.height / 4) * Math.floor(size.width / 4)
    fc.assert(
      fc.property(sizes, (given) => {
        const batches = run.strategy.plan(given)
        expect(batches.flatMap(({ members }) => members).sort((a, b) => a - b)).toEqual(given.map((_, i) => i))
        for (const batch of batches) {
          const own = batch.sizes.map(tokens).reduce((sum, n) => sum + n, 0)
          expect(batch.sizes).toEqual(batch.members.map((member) => given[member]))
          expect(batch.tokens).toBeGreaterThanOrEqual(own)
          if (batch.members.length === 1) continue
          expect(batch.tokens).toBeLessThanOrEqual(80)
          expect(own / batch.tokens).toBeGreaterThanOrEqual(1 - OPTIONS.maxPadding - 1e-9)
        }
      }),
    )
    await run.close()
  })
})
