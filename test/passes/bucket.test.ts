import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { type BucketHints, HINTS_KEY, readHints } from '../../src/batching/hints.ts'
import type { Model } from '../../src/ir/model.ts'
import { findApplied } from '../../src/ir/provenance.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionValue } from '../../src/pipeline/pass.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { fixture } from '../support/fixtures.ts'
import { compute, largestDifference, noise } from '../support/graphs.ts'
import { refused } from '../support/refused.ts'

/** Free sizes and a position table that the graph resizes; patches of 16. */
const FREE = fixture('vit-p16-g4/ts17-eager-interp.onnx').path

/** Sizes fixed to 64x64. */
const FIXED = fixture('vit-p16-g4/ts14-sdpa-static.onnx').path

const SIZES = JSON.stringify([[64, 64, 10], [60, 33], { height: 32, width: 96, count: 3 }])

/** A cost by tokens only. */
const cost = JSON.stringify({ linear: 1, attention: 0, call: 0 })

type Options = Readonly<Record<string, OptionValue>>

const plan = (model: Model, options: Options, passes: readonly string[] = ['bucket']) =>
  runPasses(registry, model, passes, { bucket: options }).passes.at(-1)

function hintsOf(model: Model): BucketHints {
  const hints = readHints(model.metadata.get(HINTS_KEY))
  if (hints === null) throw new Error('there are no hints')
  return hints
}

describe('bucket', () => {
  it('notes buckets that hold every size, and says what to expect', async () => {
    const model = await readModel(FREE)
    const report = plan(model, { sizes: SIZES, most: 2, batch: 4, cost })
    expect(report).toMatchObject({ status: 'applied', sites: { bucket: 2 } })
    expect(report?.notes[0]).toMatch(/^32x96 in 4s, 64x64 in 4s; 1\.8 % of the tokens .* no other choice costs less$/)
    expect(report?.notes[1]).toMatch(/^mask and posenc did not run/)
    expect(hintsOf(model)).toMatchObject({
      version: 1,
      patch: { height: 16, width: 16 },
      prefix: 1,
      buckets: [
        { height: 32, width: 96, batch: 4, tokens: 13, images: 3, padding: 0 },
        { height: 64, width: 64, batch: 4, tokens: 17, images: 11 },
      ],
      expected: { images: 14, optimal: true, atMostAbove: 0 },
    })
  })

  it('warns of nothing where padding does not count', async () => {
    expect(plan(await readModel(FREE), { sizes: SIZES }, ['padproof', 'bucket'])?.notes).toHaveLength(1)
  })

  it('changes no answer, and outlives the file', async () => {
    const before = await readModel(FREE)
    runPasses(registry, before, ['padproof'])
    const model = await readModel(FREE)
    plan(model, { sizes: SIZES }, ['padproof', 'bucket'])
    const read = parseModel(serializeModel(model))
    expect(hintsOf(read)).toEqual(hintsOf(model))
    expect(findApplied(read, 'bucket')?.options.sizes).toBe(SIZES)
    const feeds = { pixel_values: noise([2, 3, 32, 96]) }
    const [expected, found] = [await compute(before, feeds), await compute(read, feeds)]
    expect(expected.size).toBeGreaterThan(0)
    expect(largestDifference(expected, found)).toBe(0)
  })

  it('is done once: a second run changes nothing, other sizes are refused', async () => {
    const model = await readModel(FREE)
    plan(model, { sizes: SIZES, most: 2 })
    const bytes = serializeModel(model)
    const again = parseModel(bytes)
    expect(plan(again, { sizes: SIZES, most: 2 })?.status).toBe('already')
    expect(serializeModel(again)).toEqual(bytes)
    expect(refused(again, ['bucket'], { bucket: { sizes: '[[1, 1]]' } }).refusals[0]?.reason).toMatch(/already applied/)
  })

  it('takes given buckets as they are, the one with the fewest tokens first', async () => {
    const model = await readModel(FREE)
    plan(model, { buckets: '[[64, 64, 2], [32, 96, 5]]', sizes: SIZES })
    expect(hintsOf(model)).toEqual({
      version: 1,
      patch: { height: 16, width: 16 },
      prefix: 1,
      buckets: [
        { height: 32, width: 96, batch: 5 },
        { height: 64, width: 64, batch: 2 },
      ],
    })
    const small = refused(await readModel(FREE), ['bucket'], { bucket: { buckets: '[[32, 96]]', sizes: SIZES } })
    expect(small.refusals[0]?.reason).toBe('64x64 fits none of the buckets')
  })

  it('cuts images to whole patches where it is told that they are', async () => {
    const model = await readModel(FREE)
    plan(model, { sizes: '[[79, 49]]', crop: true })
    expect(hintsOf(model).buckets).toMatchObject([{ height: 64, width: 48 }])
    expect(hintsOf(model).expected?.padding).toBe(0)
  })

  it('goes by the cost that it is given', async () => {
    const sizes = '[[16, 160, 8], [16, 176, 8]]'
    const bucketsAt = async (call: number): Promise<number> => {
      const model = await readModel(FREE)
      plan(model, { sizes, cost: JSON.stringify({ linear: 1, attention: 0, call }) })
      return hintsOf(model).buckets.length
    }
    expect([await bucketsAt(0), await bucketsAt(1e4)]).toEqual([2, 1])
  })

  it('bounds a call by its tokens', async () => {
    const model = await readModel(FREE)
    plan(model, { sizes: '[[64, 64], [16, 16]]', tokens: 34, cost })
    expect(hintsOf(model).buckets.map(({ batch }) => batch)).toEqual([16, 2])
  })

  it('refuses without sizes', async () => {
    expect(refused(await readModel(FREE), ['bucket']).refusals[0]?.reason).toBe('no sizes are given')
    expect(refused(await readModel(FREE), ['bucket'], { bucket: { sizes: '[]' } }).code).toBe('PASS_REFUSED')
  })

  it('refuses sizes that a model for one size does not take, until its position table is freed', async () => {
    const large = refused(await readModel(FIXED), ['bucket'], { bucket: { sizes: '[[64, 64], [64, 65]]' } })
    expect(large.refusals[0]?.reason).toBe('64x65 does not fit 64x64, the only size that the model takes')
    const model = await readModel(FIXED)
    plan(model, { sizes: '[[20, 20], [64, 64]]' })
    expect(hintsOf(model).buckets).toMatchObject([{ height: 64, width: 64, images: 2 }])
    const freed = await readModel(FIXED)
    plan(freed, { sizes: '[[64, 64], [64, 65]]' }, ['posenc', 'bucket'])
    expect(hintsOf(freed).buckets.at(-1)).toMatchObject({ height: 64, width: 80 })
  })

  it.each<[Options, RegExp]>([
    [{ sizes: 'nothing' }, /option bucket\.sizes is no JSON/],
    [{ sizes: '{}' }, /option bucket\.sizes is no list/],
    [{ sizes: '[[64, 64], [64]]' }, /entry 2 of option bucket\.sizes is \[64\]/],
    [{ sizes: '[[64, "64"]]' }, /entry 1/],
    [{ sizes: '[[64, 0]]' }, /entry 1/],
    [{ sizes: '[{"height": 64, "wide": 64}]' }, /entry 1/],
    [{ sizes: '[[15, 64]]', crop: true }, /15x64 is smaller than a patch of 16x16/],
    [{ sizes: SIZES, most: 0 }, /bucket\.most cannot be "0"/],
    [{ sizes: SIZES, most: 1.5 }, /bucket\.most cannot be "1\.5"/],
    [{ sizes: SIZES, batch: -1 }, /bucket\.batch/],
    [{ sizes: SIZES, tokens: 0.5 }, /bucket\.tokens/],
    [{ sizes: SIZES, cost: '{"linear": 1}' }, /bucket\.cost/],
    [{ sizes: SIZES, cost: '{"linear": 0, "attention": 0, "call": 1}' }, /bucket\.cost/],
    [{ sizes: SIZES, cost: 'null' }, /bucket\.cost/],
    [{ buckets: '[[64, 65, 2]]' }, /bucket\.buckets cannot be "64x65"/],
  ])('does not take %j', async (options, message) => {
    const model = await readModel(FREE)
    const act = (): unknown => plan(model, options)
    expect(act).toThrow(expect.objectContaining({ code: 'BAD_OPTION', message: expect.stringMatching(message) }))
    expect(model.metadata.has(HINTS_KEY)).toBe(false)
  })
})
