import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { planPasses, runPasses } from '../../src/pipeline/run.ts'
import { allFixtures, type Fixture, withSource } from '../support/fixtures.ts'
import { largestDifference } from '../support/graphs.ts'
import { drawImage, normals } from '../support/noise.ts'
import { OrtRunner } from '../support/ort.ts'
import { item, padBatch, type Size } from '../support/padded.ts'
import type { Dense } from '../support/safetensors.ts'
import { pixelInput } from '../support/scene.ts'

/** Absolute tolerance where the same numbers are computed in another arrangement. */
const SAME = { fp32: 1e-5, fp16: 1e-2, fp64: 1e-5, bf16: 1e-1, int8: 1e-1 }

/** Passes that change nothing for images without padding: `padproof` and what it requires. */
const NEUTRAL = planPasses(registry, ['padproof']).map(({ pass }) => pass.name)

/** Sizes that the original takes and answers right: where it was traced, and one of the golden images if it knows it. */
function sizesOf({ entry, goldenCase }: Fixture): Size[] {
  const [height, width] = entry.traceSize
  const right = goldenCase.images.filter(({ index, tags }) => entry.rightAlone.includes(index) && tags.includes('wide'))
  return [...(entry.knownWrong === undefined ? [{ height, width }] : []), ...right]
}

function images({ channels }: Fixture['goldenCase'], size: Size, count: number): Dense[] {
  return Array.from({ length: count }, (_, i) => drawImage(channels, size, normals(i + 1)))
}

/** Outputs for one batch. */
async function answer(runner: OrtRunner, batch: readonly Dense[], size: Size): Promise<Map<string, Dense>> {
  return runner.run({ [pixelInput(runner)]: padBatch(batch, size) })
}

/** What the original answers for four images of a size, in batches as large as it takes. */
async function reference(original: OrtRunner, fixture: Fixture, size: Size): Promise<Map<string, Dense>[]> {
  const [declared] = original.declared(pixelInput(original)).dims
  const each = typeof declared === 'number' ? declared : 2
  const all = images(fixture.goldenCase, size, 4)
  const answers: Map<string, Dense>[] = []
  for (let b = 0; b < all.length; b += each) {
    const outputs = await answer(original, all.slice(b, b + each), size)
    for (let i = 0; i < Math.min(each, all.length - b); i += 1) answers.push(itemsOf(outputs, i))
  }
  return answers
}

function withRunner(model: Model, use: (runner: OrtRunner) => Promise<void>): Promise<void> {
  return withSource(model, async (source) => {
    const runner = await OrtRunner.open(source)
    try {
      await use(runner)
    } finally {
      await runner.close()
    }
  })
}

function itemsOf(outputs: ReadonlyMap<string, Dense>, b: number): Map<string, Dense> {
  return new Map([...outputs].map(([name, value]) => [name, item(value, b)]))
}

/** The larger of several differences of two sets of outputs. */
function worstOf(got: readonly ReadonlyMap<string, Dense>[], wanted: readonly ReadonlyMap<string, Dense>[]): number {
  expect(got.length).toBe(wanted.length)
  return Math.max(...got.map((outputs, i) => largestDifference(outputs, wanted[i] ?? new Map())))
}

/** How many images a model takes at once: 4 where its batch is free. */
function batchOf(runner: OrtRunner): number {
  const [declared] = runner.declared(pixelInput(runner)).dims
  return typeof declared === 'number' ? declared : 4
}

function unchanged(model: Model, pass: string): void {
  const bytes = serializeModel(model)
  const statuses = runPasses(registry, model, [pass]).passes.map(({ status }) => status)
  expect(statuses.filter((status) => status !== 'already' && status !== 'nothing')).toEqual([])
  expect(Buffer.compare(serializeModel(model), bytes)).toBe(0)
}

describe.each(allFixtures())('$name', (fixture) => {
  const { path, entry, goldenCase } = fixture
  const sizes = sizesOf(fixture)
  const answers = new Map<Size, Map<string, Dense>[]>()

  beforeAll(async () => {
    const original = await OrtRunner.open(path)
    for (const size of sizes) answers.set(size, await reference(original, fixture, size))
    await original.close()
  })

  afterAll(() => answers.clear())

  /** Models that have answered right already: passes that find nothing to do leave them as they are. */
  const proven = new Set<string>()

  async function answersAlike(model: Model): Promise<void> {
    const digest = createHash('sha256').update(serializeModel(model)).digest('hex')
    if (proven.has(digest)) return
    await withRunner(model, async (runner) => {
      for (const [size, wanted] of answers) {
        const all = images(goldenCase, size, 4)
        const each = batchOf(runner)
        const got: Map<string, Dense>[] = []
        for (let b = 0; b < all.length; b += each) {
          const outputs = await answer(runner, all.slice(b, b + each), size)
          for (let i = 0; i < each; i += 1) got.push(itemsOf(outputs, i))
        }
        expect(worstOf(got, wanted)).toBeLessThan(SAME[entry.precision])
      }
    })
    proven.add(digest)
  }

  it.each(NEUTRAL)('%s alone answers as ONNX Runtime does for the original, and is done once', async (pass) => {
    const model = await readModel(path)
    const before = serializeModel(model)
    const report = runPasses(registry, model, [pass])
    expect(report.passes.at(-1)?.pass).toBe(pass)
    const applied = report.passes.filter(({ status }) => status === 'applied')
    expect(Buffer.compare(serializeModel(model), before) === 0).toBe(applied.length === 0)
    await answersAlike(model)
    unchanged(model, pass)
    const external = model.graph.initializers.some((value) => value.tensor?.storage.kind === 'external')
    if (!external) unchanged(parseModel(serializeModel(model)), pass)
  })

  it('posenc alone gives an unpadded image of any size what PyTorch gives it', async () => {
    const model = await readModel(path)
    runPasses(registry, model, ['posenc'])
    await withRunner(model, async (runner) => {
      for (const { index, tags, height, width, pixels } of goldenCase.images) {
        // From pixels, a zero edge is no part of the image.
        if (tags.includes('edge-zero')) continue
        const outputs = await answer(runner, [pixels], { height, width })
        const wanted = new Map(
          Object.entries(entry.outputs).map(([name, prefix]) => [name, goldenCase.expected(prefix, index)]),
        )
        expect(worstOf([itemsOf(outputs, 0)], [wanted])).toBeLessThan(goldenCase.tolerance[entry.precision])
      }
    })
  })
})
