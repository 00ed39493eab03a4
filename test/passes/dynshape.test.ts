import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { attend, drawVit, HEADS, PATCH, type Pen, project, WIDTH, weights } from '../support/drawn-vit.ts'
import { allFixtures } from '../support/fixtures.ts'
import { compute, largestDifference, noise, open } from '../support/graphs.ts'
import { refused } from '../support/refused.ts'

/** A size at which a model is traced, in images and patches. */
interface Traced {
  readonly batch: number
  readonly rows: number
  readonly cols: number
}

/** Sizes as numbers of the trace, or as the graph reads them off its input. */
interface Sizes {
  /** A shape of numbers and names: `batch`, `patches`, `rows`, `cols`, or products such as `batch*2`, and `patches+1`. */
  shape(pen: Pen, ...entries: readonly (number | string)[]): Value
}

const PRODUCTS = /^(\w+)([*+])(\d+)$/

const baked = ({ batch, rows, cols }: Traced): Sizes => {
  const known: Readonly<Record<string, number>> = { batch, rows, cols, patches: rows * cols }
  const size = (entry: number | string): number => {
    if (typeof entry === 'number') return entry
    const [, name = entry, sign, by = '0'] = PRODUCTS.exec(entry) ?? []
    const n = known[name] ?? Number.NaN
    return sign === '*' ? n * Number(by) : n + Number(by)
  }
  return { shape: ({ b }, ...entries) => b.int64(entries.map(size)) }
}

const computed: Sizes = {
  shape({ b, grid, tokens }, ...entries) {
    const of = (value: Value, axis: number) => b.gather(b.shape(value), b.int64([axis]), { axis: 0 })
    const known: Readonly<Record<string, () => Value>> = {
      batch: () => of(grid, 0),
      rows: () => of(grid, 2),
      cols: () => of(grid, 3),
      patches: () => of(tokens, 1),
    }
    const size = (entry: number | string): Value => {
      if (typeof entry === 'number') return b.int64([entry])
      const [, name = entry, sign, by = '0'] = PRODUCTS.exec(entry) ?? []
      const n = known[name]?.() ?? b.int64([-7])
      if (sign === undefined) return n
      return sign === '*' ? b.mul(n, b.int64([Number(by)])) : b.add(n, b.int64([Number(by)]))
    }
    return b.concat(entries.map(size), { axis: 0 })
  },
}

const DIM = WIDTH / HEADS

/** A learned row, repeated. */
const repeatedRow = (pen: Pen, count: number, seed: number): Value => {
  const row = noise([WIDTH], seed).data
  const data = Float32Array.from({ length: count * WIDTH }, (_, i) => row[i % WIDTH] ?? 0)
  return pen.b.constant(floatTensor([count, 1, WIDTH], data))
}

const WAYS: readonly {
  readonly name: string
  readonly draw: (pen: Pen, sizes: Sizes, traced: Traced | null) => Value
}[] = [
  {
    name: 'heads split by Reshape',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const split = (x: Value) =>
        b.transpose(b.reshape(x, sizes.shape(pen, 'batch', 'patches', HEADS, DIM)), { perm: [0, 2, 1, 3] })
      const scores = b.matMul(
        split(project(b, tokens, 10)),
        b.transpose(split(project(b, tokens, 11)), { perm: [0, 1, 3, 2] }),
      )
      const mixed = b.transpose(b.matMul(b.softmax(scores, { axis: -1 }), split(tokens)), { perm: [0, 2, 1, 3] })
      return b.reshape(mixed, sizes.shape(pen, 'batch', 'patches', WIDTH))
    },
  },
  {
    name: 'batch and heads merged, scores of three axes',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const split = (x: Value) =>
        b.reshape(
          b.transpose(b.reshape(x, sizes.shape(pen, 'batch', 'patches', HEADS, DIM)), { perm: [0, 2, 1, 3] }),
          sizes.shape(pen, `batch*${HEADS}`, 'patches', DIM),
        )
      const scores = b.matMul(
        split(project(b, tokens, 10)),
        b.transpose(split(project(b, tokens, 11)), { perm: [0, 2, 1] }),
      )
      const mixed = b.reshape(
        b.matMul(b.softmax(scores, { axis: -1 }), split(tokens)),
        sizes.shape(pen, 'batch', HEADS, 'patches', DIM),
      )
      return b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), sizes.shape(pen, 'batch', 'patches', WIDTH))
    },
  },
  {
    name: 'tokens first, heads beside the batch',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const first = b.transpose(tokens, { perm: [1, 0, 2] })
      const split = (x: Value) =>
        b.transpose(b.reshape(x, sizes.shape(pen, 'patches', `batch*${HEADS}`, DIM)), { perm: [1, 0, 2] })
      const scores = b.matMul(
        split(project(b, first, 10)),
        b.transpose(split(project(b, first, 11)), { perm: [0, 2, 1] }),
      )
      const mixed = b.transpose(b.matMul(b.softmax(scores, { axis: -1 }), split(first)), { perm: [1, 0, 2] })
      return b.transpose(b.reshape(mixed, sizes.shape(pen, 'patches', 'batch', WIDTH)), { perm: [1, 0, 2] })
    },
  },
  {
    name: 'a projection over all tokens of the batch in one row',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const flat = b.matMul(b.reshape(tokens, b.int64([-1, WIDTH])), weights(b, [WIDTH, WIDTH], 12))
      return attend(b, b.reshape(flat, sizes.shape(pen, 'batch', 'patches', WIDTH)))
    },
  },
  {
    name: 'query, key and value in one product',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const packed = b.matMul(tokens, weights(b, [WIDTH, 3 * WIDTH], 13))
      const five = b.transpose(b.reshape(packed, sizes.shape(pen, 'batch', 'patches', 3, HEADS, DIM)), {
        perm: [2, 0, 3, 1, 4],
      })
      const [q, k, v] = [0, 1, 2].map((i) => b.gather(five, b.int64(i), { axis: 0 })) as [Value, Value, Value]
      const mixed = b.matMul(b.softmax(b.matMul(q, b.transpose(k, { perm: [0, 1, 3, 2] })), { axis: -1 }), v)
      return b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), sizes.shape(pen, 'batch', 'patches', WIDTH))
    },
  },
  {
    name: 'a class token expanded to the batch',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const token = b.expand(weights(b, [1, 1, WIDTH], 14), sizes.shape(pen, 'batch', 1, WIDTH))
      return attend(b, b.concat([token, tokens], { axis: 1 }))
    },
  },
  {
    name: 'a class token stored for each image of the batch',
    draw: (pen, sizes, traced) => {
      const { b, tokens } = pen
      const row = repeatedRow(pen, traced?.batch ?? 1, 15)
      const token = traced === null ? b.expand(row, sizes.shape(pen, 'batch', 1, WIDTH)) : row
      return attend(b, b.concat([token, tokens], { axis: 1 }))
    },
  },
  {
    name: 'the grid rebuilt, turned and laid out again',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const map = b.reshape(
        b.transpose(attend(b, tokens), { perm: [0, 2, 1] }),
        sizes.shape(pen, 'batch', WIDTH, 'rows', 'cols'),
      )
      return b.transpose(b.reshape(b.relu(map), sizes.shape(pen, 'batch', WIDTH, 'patches')), { perm: [0, 2, 1] })
    },
  },
  {
    name: 'zeros made for all tokens, and added',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      const made = b.constantOfShape(sizes.shape(pen, 'batch', 'patches', WIDTH), { value: floatTensor([1], [0.5]) })
      return attend(b, b.add(tokens, made))
    },
  },
  {
    name: 'one row repeated for every token',
    draw: (pen, sizes) => {
      const { b, tokens } = pen
      return attend(b, b.add(tokens, b.tile(weights(b, [1, 1, WIDTH], 16), sizes.shape(pen, 'batch', 'patches', 1))))
    },
  },
]

/** Equal numbers everywhere, among them: batch and heads, tokens and width, tokens and patch, all of them 1. */
const TRACED: readonly Traced[] = [
  { batch: 3, rows: 5, cols: 2 },
  { batch: 2, rows: 4, cols: 2 },
  { batch: 4, rows: 2, cols: 2 },
  { batch: 8, rows: 2, cols: 1 },
  { batch: 1, rows: 4, cols: 4 },
  { batch: 2, rows: 1, cols: 2 },
]

const OTHERS: readonly Traced[] = [
  { batch: 2, rows: 3, cols: 5 },
  { batch: 1, rows: 1, cols: 1 },
  { batch: 5, rows: 4, cols: 2 },
  { batch: 3, rows: 2, cols: 7 },
]

const pixels = ({ batch, rows, cols }: Traced) => noise([batch, 3, rows * PATCH, cols * PATCH])

async function sameAt(sizes: readonly Traced[], model: Model, twin: Model): Promise<void> {
  const [one, other] = [await open(model), await open(twin)]
  for (const size of sizes) {
    const [got, wanted] = [await one.run({ pixels: pixels(size) }), await other.run({ pixels: pixels(size) })]
    expect(largestDifference(wanted, got), JSON.stringify(size)).toBeLessThan(1e-5)
  }
  await Promise.all([one.close(), other.close()])
}

describe.each(WAYS)('$name', ({ draw }) => {
  it.each(TRACED)('is freed from $batch images of $rows x $cols patches', async (traced) => {
    const dims = [traced.batch, 3, traced.rows * PATCH, traced.cols * PATCH]
    const model = drawVit((pen) => [draw(pen, baked(traced), traced)], { dims, gain: 0.3 })
    const twin = drawVit((pen) => [draw(pen, computed, null)], { gain: 0.3 })
    expect(runPasses(registry, model, ['dynshape']).passes.at(-1)?.status).toBe('applied')
    expect(model.graph.inputs[0]?.declaredDims).toEqual(['batch', 3, 'height', 'width'])
    expect(model.graph.outputs[0]?.declaredDims?.every((dim) => typeof dim === 'string' || dim === WIDTH)).toBe(true)
    await sameAt([traced, ...OTHERS], model, twin)
    const bytes = serializeModel(model)
    for (const again of [model, parseModel(bytes)]) {
      expect(runPasses(registry, again, ['dynshape']).passes.at(-1)?.status).toBe('already')
      expect(Buffer.compare(serializeModel(again), bytes)).toBe(0)
    }
  })

  it('stays what it is where its sizes are free already', async () => {
    const [model, twin] = [0, 1].map(() => drawVit((pen) => [draw(pen, computed, null)], { gain: 0.3 })) as [
      Model,
      Model,
    ]
    runPasses(registry, model, ['dynshape'])
    await sameAt(OTHERS, model, twin)
  })
})

describe('names of axes', () => {
  const only = ({ b, tokens }: Pen) => [attend(b, tokens)]

  it('are kept, and given where there are none', () => {
    const named = drawVit(only, { dims: ['n', 3, 'h', 16] })
    runPasses(registry, named, ['dynshape'])
    expect(named.graph.inputs[0]?.declaredDims).toEqual(['n', 3, 'h', 'width'])
    expect(named.graph.outputs[0]?.declaredDims?.[0]).toBe('n')
  })

  it('are parted where height and width share one', () => {
    const tied = drawVit(only, { dims: ['n', 3, 's100', 's100'] })
    expect(runPasses(registry, tied, ['dynshape']).passes.at(-1)?.status).toBe('applied')
    expect(tied.graph.inputs[0]?.declaredDims).toEqual(['n', 3, 'height', 'width'])
  })

  it('are no reason to change a model that is free', () => {
    const free = drawVit(only)
    runPasses(registry, free, ['canonical'])
    const bytes = serializeModel(free)
    expect(runPasses(registry, free, ['dynshape']).passes.at(-1)?.status).toBe('nothing')
    expect(Buffer.compare(serializeModel(free), bytes)).toBe(0)
  })

  it('cannot be wrong for ONNX Runtime, which reads the declared outputs', async () => {
    const model = drawVit(
      ({ b, tokens, grid }) => [attend(b, tokens), b.relu(grid), b.reduceMean(tokens, { axes: [1] })],
      {
        dims: [2, 3, 8, 12],
      },
    )
    runPasses(registry, model, ['dynshape'])
    expect(model.graph.outputs.map(({ declaredDims }) => declaredDims)).toEqual([
      ['batch', expect.any(String), WIDTH],
      ['batch', WIDTH, expect.any(String), expect.any(String)],
      ['batch', 1, WIDTH],
    ])
    const outputs = await compute(model, { pixels: pixels({ batch: 1, rows: 5, cols: 1 }) })
    expect([...outputs.values()].map(({ dims }) => dims)).toEqual([
      [1, 5, WIDTH],
      [1, WIDTH, 5, 1],
      [1, 1, WIDTH],
    ])
  })
})

describe('the option size', () => {
  const table = ({ b, tokens }: Pen) => [attend(b, b.add(tokens, weights(b, [1, 6, WIDTH], 5)))]

  it('tells the grid of a stored table that the file does not show', () => {
    const model = () => drawVit(table)
    const [wide, tall] = [model(), model()]
    expect(refused(model(), ['posenc']).refusals[0]?.remedy).toMatch(/posenc\.native=2x3/)
    for (const [each, size] of [
      [wide, '8x12'],
      [tall, '12x8'],
    ] as const) {
      expect(runPasses(registry, each, ['dynshape'], { dynshape: { size } }).passes.at(-1)?.status).not.toBe('refused')
    }
  })

  it('of another number of patches than the table has is refused', () => {
    const error = refused(drawVit(table), ['dynshape'], { dynshape: { size: '16x16' } })
    expect(error.refusals[0]?.reason).toMatch(/do not agree at 16x16, the size that was given/)
  })
})

describe('fixtures', () => {
  it.each(allFixtures())(
    '$name has no number left in its image input but the channels',
    async ({ path, goldenCase }) => {
      const model = await readModel(path)
      const before = model.graph.inputs[0]?.declaredDims ?? []
      runPasses(registry, model, ['dynshape'])
      const [batch, channels, height, width] = model.graph.inputs[0]?.declaredDims ?? []
      for (const dim of [batch, height, width]) expect(dim).toEqual(expect.stringMatching(/./))
      expect(new Set([batch, height, width]).size).toBe(3)
      expect(channels).toBe(before[1])
      expect([goldenCase.channels, 'num_channels']).toContain(channels)
    },
  )
})
