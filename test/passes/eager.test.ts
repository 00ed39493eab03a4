import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { attr } from '../../src/ir/attribute.ts'
import type { Model } from '../../src/ir/model.ts'
import { boolTensor, intTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import {
  drawVit,
  HEADS,
  inHeads,
  type Pen,
  paddedAgainstAlone,
  project,
  WIDTH,
  weights,
  withClassToken,
} from '../support/drawn-vit.ts'
import { compute, largestDifference, noise } from '../support/graphs.ts'
import { refused } from '../support/refused.ts'

type Attributes = Record<string, number | readonly number[]>

const MICROSOFT = 'com.microsoft'

/** One fused attention node. Integers become int attributes, fractions floats. */
function fused(
  { graph }: Pen,
  op: string,
  inputs: readonly (Value | null)[],
  attributes: Attributes,
  options: { readonly domain?: string; readonly outputs?: number } = {},
): Value[] {
  const made = Object.entries(attributes).map(([name, value]) => {
    if (typeof value !== 'number') return [name, attr.ints(value)] as const
    return [name, Number.isInteger(value) ? attr.int(value) : attr.float(value)] as const
  })
  return graph.emit(op, inputs, { attributes: Object.fromEntries(made), ...options })
}

/** Query, key and value projections of the tokens behind a class token. */
function qkv(pen: Pen): [Value, Value, Value] {
  const x = withClassToken(pen)
  return [project(pen.b, x, 20), project(pen.b, x, 21), project(pen.b, x, 22)]
}

const FIXED = ['batch', 3, 8, 12] as const
/** A class token and two rows of three patches. */
const TOKENS = 7

async function lowersAlike(draw: () => Model): Promise<void> {
  const [original, model] = [draw(), draw()]
  const report = runPasses(registry, model, ['eager'])
  expect(report.passes.at(-1)).toMatchObject({ pass: 'eager', status: 'applied', sites: { attention: 1 } })
  expect(model.graph.nodes.filter((node) => /Attention/.test(node.opType))).toEqual([])
  expect(model.graph.nodes.map((node) => node.opType)).toContain('Softmax')
  const fixed = original.graph.inputs[0]?.declaredDims?.[2] === 8
  const sizes = fixed
    ? [[8, 12]]
    : ([
        [8, 12],
        [16, 4],
        [4, 4],
      ] as const)
  for (const [height = 0, width = 0] of sizes) {
    const feeds = { pixels: noise([2, 3, height, width]) }
    const before = await compute(original, feeds)
    expect(largestDifference(before, await compute(model, feeds))).toBeLessThan(1e-5)
    expect(before.get('y0')?.data.some((x) => Math.abs(x) > 0.1)).toBe(true)
  }
  const bytes = serializeModel(model)
  expect(runPasses(registry, model, ['eager']).passes.at(-1)?.status).toBe('already')
  const read = parseModel(bytes)
  expect(runPasses(registry, read, ['eager']).passes.at(-1)?.status).toBe('already')
  for (const again of [model, read]) expect(Buffer.compare(serializeModel(again), bytes)).toBe(0)
}

describe.each([23, 24])('ai.onnx Attention of opset %i', (opset) => {
  const three = { q_num_heads: HEADS, kv_num_heads: HEADS }
  const draw = (make: (pen: Pen, parts: [Value, Value, Value]) => Value, dims?: typeof FIXED) => () =>
    drawVit((pen) => [make(pen, qkv(pen))], { opset, ...(dims === undefined ? {} : { dims }) })
  const one = (pen: Pen, inputs: readonly (Value | null)[], attributes: Attributes): Value =>
    fused(pen, 'Attention', inputs, attributes)[0] as Value

  it('is lowered from three axes', () => lowersAlike(draw((pen, parts) => one(pen, parts, three))))

  it('is lowered from four axes', () =>
    lowersAlike(
      draw((pen, parts) =>
        one(
          pen,
          parts.map((x) => inHeads(pen.b, x)),
          {},
        ),
      ),
    ))

  it('keeps a scale', () => lowersAlike(draw((pen, parts) => one(pen, parts, { ...three, scale: 0.3 }))))

  it('adds a mask of floats', () =>
    lowersAlike(draw((pen, parts) => one(pen, [...parts, weights(pen.b, [TOKENS, TOKENS], 30)], three), FIXED)))

  it('adds a mask of floats for each head', () =>
    lowersAlike(
      draw((pen, parts) => one(pen, [...parts, weights(pen.b, [1, HEADS, TOKENS, TOKENS], 30)], three), FIXED),
    ))

  it('hides what a mask of bools hides', () =>
    lowersAlike(
      draw((pen, parts) => {
        const seen = Array.from({ length: TOKENS * TOKENS }, (_, i) => i % TOKENS === 0 || i % 3 !== 1)
        return one(pen, [...parts, pen.b.constant(boolTensor([TOKENS, TOKENS], seen))], three)
      }, FIXED),
    ))

  it('leaves out a mask that hides nothing', async () => {
    const all = draw((pen, parts) => {
      const seen = pen.b.constant(boolTensor([TOKENS, TOKENS], new Array(TOKENS * TOKENS).fill(true)))
      return one(pen, [...parts, seen], three)
    }, FIXED)
    await lowersAlike(all)
    const model = all()
    runPasses(registry, model, ['eager'])
    expect(model.graph.nodes.map((node) => node.opType)).not.toContain('Where')
  })

  it('repeats keys and values for the heads of a group, in three axes and in four', async () => {
    const [queries, groups, dim] = [4, 2, 2]
    const narrow = (pen: Pen, x: Value, seed: number) => pen.b.matMul(x, weights(pen.b, [WIDTH, groups * dim], seed))
    const split = (pen: Pen, x: Value, heads: number) =>
      pen.b.transpose(pen.b.reshape(x, pen.b.int64([0, 0, heads, dim])), { perm: [0, 2, 1, 3] })
    await lowersAlike(
      draw((pen, [q, k, v]) =>
        one(pen, [q, narrow(pen, k, 31), narrow(pen, v, 32)], { q_num_heads: queries, kv_num_heads: groups }),
      ),
    )
    await lowersAlike(
      draw((pen, [q, k, v]) =>
        one(
          pen,
          [split(pen, q, queries), split(pen, narrow(pen, k, 31), groups), split(pen, narrow(pen, v, 32), groups)],
          {},
        ),
      ),
    )
  })

  it('lets values be of another width than keys', () =>
    lowersAlike(
      draw((pen, [q, k, v]) => one(pen, [q, k, pen.b.matMul(v, weights(pen.b, [WIDTH, 2 * WIDTH], 33))], three)),
    ))

  it('bends scores that have no mask (softcap)', () =>
    lowersAlike(draw((pen, parts) => one(pen, parts, { ...three, softcap: 0.5 }))))

  it.each([
    ['causal', { is_causal: 1 }, /causal/],
    ['of an operator that is not known', { sinks: 3 }, /attribute sinks/],
    ['of a window', { left_window_size: 2 }, /window/],
  ])('is refused where its scores are %s', (_, attributes, reason) => {
    const error = refused(draw((pen, parts) => one(pen, parts, { ...three, ...attributes }))(), ['eager'])
    expect(error.refusals[0]?.reason).toMatch(reason)
    expect(error.refusals[0]?.node).toMatch(/^Attention /)
  })

  it('is refused where scores are capped and masked', () => {
    const both = draw(
      (pen, parts) => one(pen, [...parts, weights(pen.b, [TOKENS, TOKENS], 30)], { ...three, softcap: 0.5 }),
      FIXED,
    )
    expect(refused(both(), ['eager']).refusals[0]?.reason).toMatch(/softcap/)
  })

  it('is refused with past keys, and where its present keys are read', () => {
    const past = draw((pen, parts) => {
      const old = weights(pen.b, [1, HEADS, 3, WIDTH / HEADS], 34)
      return one(pen, [...parts, null, old, old], three)
    })
    expect(refused(past(), ['eager']).refusals[0]?.reason).toMatch(/past keys/)
    const present = drawVit((pen) => fused(pen, 'Attention', qkv(pen), three, { outputs: 3 }).slice(0, 2), { opset })
    expect(refused(present, ['eager']).refusals[0]?.reason).toMatch(/present keys/)
  })

  if (opset >= 24) {
    it('is refused with key lengths of its own', () => {
      const lengths = draw((pen, parts) => one(pen, [...parts, null, null, null, pen.b.int64([3])], three))
      expect(refused(lengths(), ['eager']).refusals[0]?.reason).toMatch(/key lengths/)
    })
  }

  it('can be masked and zeroed once it is lowered', async () => {
    const make = draw((pen, parts) => one(pen, parts, three))
    const [original, transformed] = [make(), make()]
    runPasses(registry, transformed, ['padproof'])
    const sizes = [
      { height: 8, width: 12 },
      { height: 16, width: 4 },
      { height: 4, width: 20 },
    ]
    const found = await paddedAgainstAlone({ original, transformed }, { y0: ['tokens', 'fixed'] }, sizes, 1)
    expect(found.own).toBeLessThan(1e-5)
    expect(found.padding).toBe(0)
  })
})

describe('com.microsoft MultiHeadAttention', () => {
  const draw = (make: (pen: Pen, parts: [Value, Value, Value]) => readonly (Value | null)[], dims?: typeof FIXED) => {
    return (attributes: Attributes = {}) =>
      drawVit(
        (pen) =>
          fused(
            pen,
            'MultiHeadAttention',
            make(pen, qkv(pen)),
            { num_heads: HEADS, ...attributes },
            { domain: MICROSOFT },
          ),
        dims === undefined ? {} : { dims },
      )
  }

  it('is lowered', () => lowersAlike(draw((_, parts) => parts)))
  it('keeps a scale', () => lowersAlike(() => draw((_, parts) => parts)({ scale: 0.3 })))
  it('adds its bias to query, key and value', () =>
    lowersAlike(draw((pen, parts) => [...parts, weights(pen.b, [3 * WIDTH], 40)])))
  it('adds an attention bias', () =>
    lowersAlike(draw((pen, parts) => [...parts, null, null, weights(pen.b, [1, HEADS, TOKENS, TOKENS], 41)], FIXED)))

  const pack = ({ b }: Pen, parts: readonly Value[]) => {
    const split = parts.map((x) => b.unsqueeze(b.reshape(x, b.int64([0, 0, HEADS, WIDTH / HEADS])), { axes: [3] }))
    return b.concat(split, { axis: 3 })
  }
  it.each<[string, (pen: Pen, parts: [Value, Value, Value]) => readonly Value[]]>([
    ['query, key and value', (pen, parts) => [pack(pen, parts)]],
    ['key and value', (pen, [q, k, v]) => [q, pack(pen, [k, v])]],
  ])('takes %s from one operand, which ONNX Runtime does on a GPU only', async (_, packed) => {
    const [plain, model] = [draw((_, parts) => parts)(), draw(packed)()]
    runPasses(registry, model, ['eager'])
    const feeds = { pixels: noise([2, 3, 16, 4]) }
    expect(largestDifference(await compute(plain, feeds), await compute(model, feeds))).toBeLessThan(1e-5)
  })
  it('takes keys and values in heads', () =>
    lowersAlike(draw((pen, [q, k, v]) => [q, inHeads(pen.b, k), inHeads(pen.b, v)])))
  it('leaves out key padding that hides nothing', () =>
    lowersAlike(
      draw((pen, parts) => {
        const { b } = pen
        const shape = b.slice(b.shape(parts[0]), { starts: [0], ends: [2] })
        const ones = b.constantOfShape(shape, { value: intTensor('int32', [1], [1]) })
        return [...parts, null, ones]
      }),
    ))
  it('is refused with past keys, an attribute that is not known, and a mask that is shorter than its keys', () => {
    const past = draw((pen, parts) => {
      const old = weights(pen.b, [1, HEADS, 3, WIDTH / HEADS], 42)
      return [...parts, null, null, null, old, old]
    })
    expect(refused(past(), ['eager']).refusals[0]?.reason).toMatch(/past keys/)
    expect(refused(draw((_, parts) => parts)({ softcap: 0.5 }), ['eager']).refusals[0]?.reason).toMatch(/softcap/)
    const short = draw((pen, parts) => [...parts, null, null, weights(pen.b, [1, HEADS, TOKENS, 1], 41)], FIXED)
    expect(refused(short(), ['eager']).refusals[0]?.reason).toMatch(/span its keys/)
  })

  it('is refused with key padding of its own, and where it is causal', () => {
    const padded = draw((pen, parts) => [
      ...parts,
      null,
      pen.b.cast(pen.b.reduceMax(parts[0], { axes: [2], keepdims: 0 }), { to: 'int32' }),
    ])
    expect(refused(padded(), ['eager']).refusals[0]?.reason).toMatch(/key padding mask/)
    const causal = draw((_, parts) => parts)({ unidirectional: 1 })
    expect(refused(causal, ['eager']).refusals[0]?.reason).toMatch(/causal/)
  })
})

describe('com.microsoft Attention', () => {
  const draw =
    (
      outputs: number,
      attributes: Attributes,
      more: (pen: Pen) => readonly (Value | null)[] = () => [],
      dims?: typeof FIXED,
    ) =>
    () =>
      drawVit(
        (pen) => {
          const packed = weights(pen.b, [WIDTH, outputs], 50)
          const inputs = [withClassToken(pen), packed, weights(pen.b, [outputs], 51), ...more(pen)]
          return fused(pen, 'Attention', inputs, { num_heads: HEADS, ...attributes }, { domain: MICROSOFT })
        },
        dims === undefined ? {} : { dims },
      )

  it('is lowered with its projections', () => lowersAlike(draw(3 * WIDTH, {})))
  it('keeps a scale', () => lowersAlike(draw(3 * WIDTH, { scale: 0.3 })))
  it('splits its weights by qkv_hidden_sizes', () =>
    lowersAlike(draw(2 * 4 + WIDTH, { qkv_hidden_sizes: [4, 4, WIDTH] })))
  it('adds an attention bias', () =>
    lowersAlike(draw(3 * WIDTH, {}, (pen) => [null, null, weights(pen.b, [1, HEADS, TOKENS, TOKENS], 52)], FIXED)))

  it('is refused with a mask of its own, and where it is causal', () => {
    const masked = draw(3 * WIDTH, {}, (pen) => [pen.b.cast(pen.b.int64([3, 3]), { to: 'int32' })])
    expect(refused(masked(), ['eager']).refusals[0]?.reason).toMatch(/mask index/)
    expect(refused(draw(3 * WIDTH, { unidirectional: 1 })(), ['eager']).refusals[0]?.reason).toMatch(/causal/)
  })
})

it('finds nothing to do where attention is written out', () => {
  const model = drawVit((pen) => [project(pen.b, pen.tokens, 60)])
  const bytes = serializeModel(model)
  expect(runPasses(registry, model, ['eager']).passes.at(-1)?.status).toBe('nothing')
  expect(Buffer.compare(serializeModel(model), bytes)).toBe(0)
})
