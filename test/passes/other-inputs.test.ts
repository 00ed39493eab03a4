import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { readAnatomy } from '../../src/analysis/anatomy.ts'
import type { Attribute } from '../../src/ir/attribute.ts'
import type { DType } from '../../src/ir/dtype.ts'
import { Graph } from '../../src/ir/graph.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import { type DeclaredDim, Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { attend, drawVit, HEADS, PATCH, type Pen, paddedAgainstAlone, WIDTH, weights } from '../support/drawn-vit.ts'
import { refused } from '../support/refused.ts'

const SIZES = [
  { height: 16, width: 16 },
  { height: 8, width: 20 },
  { height: 4, width: 4 },
]

/** A second input of the model, named `other`. */
function other({ graph }: Pen, dims: readonly DeclaredDim[], dtype: DType = 'float'): Value {
  const value = new Value('other')
  value.type = { kind: 'tensor', dtype, dims }
  graph.addInput(value)
  return value
}

/** int64 [1]: how many tokens there are, as an input of their masks is long. */
function lengthOf({ b }: Pen, mask: Value): Value {
  return b.gather(b.shape(mask), b.int64([1]), { axis: 0 })
}

const MASK = ['batch', 'tokens'] as const

const REACHING: Readonly<Record<string, (pen: Pen) => readonly Value[]>> = {
  'a mask of keys': (pen) => {
    const { b, tokens } = pen
    const mask = b.unsqueeze(other(pen, MASK), { axes: [1, 2] })
    return [attend(b, tokens, 10, (scores) => b.add(scores, mask))]
  },
  'a mask of booleans that picks the scores': (pen) => {
    const { b, tokens } = pen
    const mask = b.unsqueeze(other(pen, MASK, 'bool'), { axes: [1, 2] })
    return [attend(b, tokens, 10, (scores) => b.where(mask, scores, b.float(-1e9)))]
  },
  'a bias for each head and pair of tokens': (pen) => {
    const bias = other(pen, [1, HEADS, 'tokens', 'tokens'])
    return [attend(pen.b, pen.tokens, 10, (scores) => pen.b.add(scores, bias))]
  },
  'numbers of positions': (pen) => {
    const { b, tokens } = pen
    return [attend(b, b.add(tokens, b.gather(weights(b, [40, WIDTH], 5), other(pen, MASK, 'int64'), { axis: 0 })))]
  },
  'positions as they are': (pen) => [attend(pen.b, pen.b.add(pen.tokens, other(pen, [1, 'tokens', WIDTH])))],
  'its shape alone, which numbers the positions': (pen) => {
    const { b, tokens } = pen
    const count = b.squeeze(lengthOf(pen, other(pen, MASK)), { axes: [0] })
    const numbers = b.range(b.int64(0), count, b.int64(1))
    return [attend(b, b.add(tokens, b.gather(weights(b, [40, WIDTH], 5), numbers, { axis: 0 })))]
  },
  'patches to replace': (pen) => {
    const { b, tokens } = pen
    const replaced = b.unsqueeze(other(pen, MASK, 'bool'), { axes: [2] })
    return [attend(b, b.where(replaced, weights(b, [1, 1, WIDTH], 6), tokens))]
  },
  'the one token to keep': (pen) => {
    const { b } = pen
    return [b.gather(attend(b, pen.tokens), other(pen, [], 'int64'), { axis: 1 })]
  },
  'how many tokens to keep': (pen) => {
    const { b, graph, tokens } = pen
    const end = other(pen, [1], 'int64')
    const [kept] = graph.emit('Slice', [attend(b, tokens), b.int64([0]), end, b.int64([1])])
    return [kept as Value]
  },
  'a number for each image': (pen) => [attend(pen.b, pen.b.mul(pen.tokens, other(pen, ['batch', 1, 1])))],
  'one number that scales positions': (pen) => {
    const { b, grid } = pen
    const sizes = b.concat([b.int64([1, WIDTH]), b.slice(b.shape(grid), { starts: [2], ends: [4], axes: [0] })], {
      axis: 0,
    })
    const table = b.resize(weights(b, [1, WIDTH, 5, 5], 70), { sizes, mode: 'linear' })
    const rows = b.reshape(b.add(grid, b.mul(table, other(pen, []))), b.int64([0, WIDTH, -1]))
    return [attend(b, b.transpose(rows, { perm: [0, 2, 1] }))]
  },
  'one number that becomes an operand together with the number of tokens': (pen) => {
    const { b, tokens } = pen
    const count = b.cast(b.gather(b.shape(tokens), b.int64(1), { axis: 0 }), { to: 'float' })
    const scale = b.div(other(pen, []), count)
    return [attend(b, tokens, 10, (scores) => b.mul(scores, scale))]
  },
  'a flag that picks positions': (pen) => {
    const { b, grid } = pen
    const flag = other(pen, [], 'bool')
    return [attend(b, b.where(flag, b.reshape(grid, b.int64([0, -1, WIDTH])), pen.tokens))]
  },
  'an output of its own': (pen) => [attend(pen.b, pen.tokens), pen.b.relu(other(pen, MASK))],
  'an output that it is itself': (pen) => [attend(pen.b, pen.tokens), pen.b.identity(other(pen, MASK))],
  'a second image, cut by a product': (pen) => {
    const { b, tokens } = pen
    const second = b.reshape(other(pen, ['batch', 3, 'height', 'width']), b.int64([0, -1, 3 * PATCH * PATCH]))
    return [attend(b, b.add(tokens, b.matMul(second, weights(b, [3 * PATCH * PATCH, WIDTH], 8))))]
  },
}

describe('an input beside the image that reaches the outputs is refused by its name', () => {
  it.each(Object.entries(REACHING))('%s', (_, draw) => {
    for (const passes of [['padproof'], ['mask'], ['posenc']]) {
      const [first] = refused(drawVit(draw), passes).refusals
      expect(first?.reason).toMatch(/the outputs depend on .*\bother\b/)
      expect(first?.remedy).toMatch(/as a constant|by itself/)
    }
  })

  it('where the image has one size, when that is freed', () => {
    const draw = REACHING['positions as they are'] ?? expect.fail('it is gone')
    const [first] = refused(drawVit(draw, { dims: [1, 3, 16, 16] }), ['dynshape']).refusals
    expect(first?.reason).toMatch(/depend on the input other/)
  })

  it('and inspection names it', () => {
    const model = drawVit(REACHING['a mask of keys'] ?? expect.fail('it is gone'))
    const [first] = readAnatomy(model).problems
    expect(first?.reason).toMatch(/depend on the input other/)
    expect(first?.node).toMatch(/^Add /)
  })

  it('read by a branch alone', () => {
    const model = drawVit((pen) => {
      const { b, graph, tokens } = pen
      const bias = other(pen, [1, 'tokens', WIDTH])
      const branch = (op: string): Attribute => {
        const inner = new Graph(op, graph)
        const [made] = inner.emit(op, [bias])
        inner.addOutput(made as Value)
        return { type: 'graph', value: inner }
      }
      const long = b.greater(b.gather(b.shape(tokens), b.int64(1), { axis: 0 }), b.int64(9))
      const attributes = { then_branch: branch('Relu'), else_branch: branch('Neg') }
      const [chosen] = graph.emit('If', [long], { attributes })
      return [attend(b, b.add(tokens, chosen as Value))]
    })
    const [first] = refused(model, ['mask']).refusals
    expect(first?.reason).toMatch(/depend on the input other/)
    expect(first?.node).toMatch(/^Add /)
  })

  it('two images, each cut by a convolution', () => {
    const model = drawVit((pen) => {
      const { b } = pen
      const kernel = weights(b, [WIDTH, 3, PATCH, PATCH], 9)
      const second = b.conv(other(pen, ['batch', 3, 'height', 'width']), kernel, { strides: [PATCH, PATCH] })
      return [b.add(pen.grid, second)]
    })
    const [first] = refused(model, ['padproof']).refusals
    expect(first).toMatchObject({ reason: 'convolutions read two image inputs, pixels and other' })
    expect(first?.remedy).toMatch(/each image input by itself/)
  })

  it.each([
    ['idefics2-p4-g6/ts17-pixel-mask-tokens.onnx', 'patch_attention_mask'],
    ['pixtral-p4-g6/ts17-image-sizes-tokens-bare.onnx', 'image_sizes'],
  ])('%s', async (name, input) => {
    for (const passes of [['padproof'], ['posenc']]) {
      const [first] = refused(await readModel(join(import.meta.dirname, '../../fixtures', name)), passes).refusals
      expect(first?.reason).toContain(`the outputs depend on the input ${input} beside the image`)
      expect(first?.remedy).toContain('batch encoder')
    }
  })
})

describe('an input beside the image that cannot tell one token or image from another', () => {
  const harmless: Readonly<Record<string, (pen: Pen) => readonly Value[]>> = {
    'reaches nothing': (pen) => {
      pen.b.relu(other(pen, []))
      return [attend(pen.b, pen.tokens)]
    },
    'is a temperature of scores': (pen) => {
      const { b } = pen
      const temperature = b.identity(other(pen, []))
      return [
        attend(
          b,
          attend(b, pen.tokens, 10, (scores) => b.div(scores, temperature)),
          30,
        ),
      ]
    },
    'is added to tokens': (pen) => [attend(pen.b, pen.b.add(other(pen, []), pen.tokens))],
  }

  /** The model with `other` as a constant, which the caller may override or not. */
  function given(model: Model, overridable: boolean): Model {
    const { graph } = model
    const at = graph.inputs.findIndex(({ name }) => name === 'other')
    const input = graph.inputs[at] ?? expect.fail('it has no other input')
    graph.attachInitializer(input, { ...floatTensor([], [0.7]), name: input.name })
    if (!overridable) graph.inputs.splice(at, 1)
    return model
  }

  it.each(Object.entries(harmless))('%s: its images get what each gets alone', async (_, draw) => {
    const transformed = drawVit(draw)
    runPasses(registry, transformed, ['padproof'])
    const models = { original: given(drawVit(draw), false), transformed: given(transformed, false) }
    const found = await paddedAgainstAlone(models, { y0: ['tokens', 'fixed'] }, SIZES)
    expect(found.own).toBeLessThan(1e-5)
    expect(found.padding).toBe(0)
  })

  it('is the one that an earlier pass has added', () => {
    const model = drawVit(({ b, tokens }) => [attend(b, tokens)])
    runPasses(registry, model, ['mask'], { mask: { source: 'sizes' } })
    expect(model.graph.inputs.map(({ name }) => name)).toEqual(['pixels', 'image_sizes'])
    expect(runPasses(registry, model, ['posenc', 'zero']).passes.map(({ status }) => status)).not.toContain('refused')
  })

  it('is one that has a default', () => {
    const draw = (pen: Pen) => [attend(pen.b, pen.b.mul(pen.tokens, pen.b.sigmoid(other(pen, []))))]
    expect(refused(drawVit(draw), ['mask']).refusals[0]?.reason).toMatch(/depend on the input other/)
    const [mask] = runPasses(registry, given(drawVit(draw), true), ['mask']).passes.slice(-1)
    expect(mask).toMatchObject({ pass: 'mask', status: 'applied' })
  })
})
