import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { tokensOf } from '../../src/batching/cost.ts'
import type { Model } from '../../src/ir/model.ts'
import { readModel } from '../../src/onnx/node.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { type Calibration, calibrate } from '../../src/runtime/calibrate.ts'
import { Session } from '../../src/runtime/session.ts'
import { fixture } from '../support/fixtures.ts'

const tokenizer = { patch: { height: 16, width: 16 }, prefix: 1 }
const inputs = { pixels: 'pixel_values', channels: 3, sizes: null }

async function masked(options: OptionsByPass = {}): Promise<Model> {
  const model = await readModel(fixture('vit-p16-g4/ts17-eager-interp.onnx').path)
  runPasses(registry, model, ['mask', 'posenc'], options)
  return model
}

async function withSession<T>(model: Model, use: (session: Session) => Promise<T>): Promise<T> {
  const session = await Session.open(serializeModel(model), { threads: 1 })
  try {
    return await use(session)
  } finally {
    await session.close()
  }
}

function expectCosts({ cost, calls }: Calibration): void {
  expect(Math.min(cost.linear, cost.attention, cost.call)).toBeGreaterThanOrEqual(0)
  expect(cost.linear + cost.attention).toBeGreaterThan(0)
  for (const { seconds } of calls) expect(seconds).toBeGreaterThan(0)
}

describe('calibrate', () => {
  it('times sizes up to the largest, small ones with several images too', async () => {
    const largest = { height: 160, width: 90 }
    const steps: string[] = []
    const found = await withSession(await masked(), (session) =>
      calibrate(session, inputs, { tokenizer, largest, fixed: false }, (text) => steps.push(text)),
    )
    expectCosts(found)
    const tokens = found.calls.map((call) => call.tokens)
    expect(tokens).toEqual([...tokens].sort((a, b) => a - b))
    expect(tokens.at(-1)).toBe(tokensOf(largest, tokenizer))
    expect(new Set(tokens).size).toBeGreaterThanOrEqual(4)
    expect(new Set(found.calls.map(({ images }) => images))).toEqual(new Set([1, 4]))
    expect(steps).toHaveLength(found.calls.length)
  })

  it('feeds true sizes where the model asks for them', async () => {
    const model = await masked({ mask: { source: 'sizes' } })
    const largest = { height: 48, width: 48 }
    const found = await withSession(model, (session) =>
      calibrate(session, { ...inputs, sizes: 'image_sizes' }, { tokenizer, largest, fixed: false }),
    )
    expectCosts(found)
  })

  it('times the one size of a model that takes no other', async () => {
    const model = await readModel(fixture('vit-p16-g4/ts14-sdpa-static.onnx').path)
    runPasses(registry, model, ['dynshape'])
    const largest = { height: 64, width: 64 }
    const found = await withSession(model, (session) => calibrate(session, inputs, { tokenizer, largest, fixed: true }))
    expect(found.calls.map(({ images, tokens }) => [images, tokens])).toEqual([
      [1, 17],
      [4, 17],
    ])
    expectCosts(found)
  })

  it('does not guess what another input wants', async () => {
    const model = await masked({ mask: { source: 'sizes' } })
    const largest = { height: 48, width: 48 }
    await withSession(model, async (session) => {
      const act = calibrate(session, inputs, { tokenizer, largest, fixed: false })
      await expect(act).rejects.toMatchObject({
        code: 'MODEL_UNSUPPORTED',
        message: expect.stringContaining('image_sizes'),
      })
    })
  })
})
