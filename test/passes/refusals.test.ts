import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { VitpassError } from '../../src/errors.ts'
import type { Value } from '../../src/ir/value.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import type { PassResult } from '../../src/pipeline/pass.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import {
  attend,
  type Drawing,
  drawVit,
  gridShape,
  HEADS,
  PATCH,
  type Pen,
  project,
  WIDTH,
  weights,
  withClassToken,
} from '../support/drawn-vit.ts'
import { convolutionalModel, textModel } from '../support/other-models.ts'
import { refused } from '../support/refused.ts'

const ALL = ['mask', 'posenc', 'zero']

interface Refusable {
  readonly name: string
  readonly draw: (pen: Pen) => readonly Value[]
  readonly drawing?: Drawing
  /** The pass that refuses. */
  readonly by: string
  readonly reason: RegExp
  readonly node: RegExp
}

/** A patch number's own constant: [1, count, 8]. */
const table = (b: Pen['b'], count: number, seed: number) => weights(b, [1, count, WIDTH], seed)

/** [1, 1, side, side] resized to [1, 1, tokens, tokens] by nearest neighbours: a bias for each pair of tokens. */
function pairBias({ b, tokens }: Pen): Value {
  const count = b.gather(b.shape(tokens), b.int64([1]), { axis: 0 })
  const sizes = b.concat([b.int64([1, 1]), count, count], { axis: 0 })
  return b.resize(weights(b, [1, 1, 5, 5], 70), { sizes, mode: 'linear' })
}

/** int64 [1]: how many patches there are. */
const patchCount = ({ b, tokens }: Pen): Value => b.gather(b.shape(tokens), b.int64([1]), { axis: 0 })

/** Tokens of an image that is 4 rows of `cols` patches, in windows of 2 by 2: [batch * windows, 4, 8]. */
function windows({ b, grid }: Pen): Value {
  const [rows, cols] = [0, 1].map((axis) => {
    const length = b.gather(b.shape(grid), b.int64([axis + 2]), { axis: 0 })
    return b.div(length, b.int64([2]))
  }) as [Value, Value]
  const two = b.int64([2])
  const six = b.reshape(grid, b.concat([b.int64([-1, WIDTH]), rows, two, cols, two], { axis: 0 }))
  return b.reshape(b.transpose(six, { perm: [0, 2, 4, 3, 5, 1] }), b.int64([-1, 4, WIDTH]))
}

const CASES: readonly Refusable[] = [
  {
    name: 'a convolution after the patch embedding',
    draw: ({ b, grid }) => [b.conv(grid, weights(b, [WIDTH, WIDTH, 3, 3], 60), { kernel_shape: [3, 3] })],
    by: 'mask',
    reason: /convolution after the patch embedding/,
    node: /^Conv /,
  },
  {
    name: 'a convolution after attention',
    draw: (pen) => {
      const { b } = pen
      const mixed = b.transpose(attend(b, pen.tokens), { perm: [0, 2, 1] })
      const map = b.reshape(mixed, b.concat([b.int64([0, WIDTH]), gridShape(pen)], { axis: 0 }))
      return [b.conv(map, weights(b, [WIDTH, WIDTH, 3, 3], 60), { kernel_shape: [3, 3], strides: [2, 2] })]
    },
    by: 'mask',
    reason: /convolution after the patch embedding/,
    node: /^Conv /,
  },
  {
    name: 'patches picked by numbers that the graph makes',
    draw: ({ b, tokens }) => {
      const order = b.topK(b.reduceMax(tokens, { axes: [2], keepdims: 0 }), { k: b.int64([4]), axis: 1 })[1]
      const picked = b.tile(b.unsqueeze(order, { axes: [2] }), b.int64([1, 1, WIDTH]))
      return [attend(b, b.gatherElements(tokens, picked, { axis: 1 }))]
    },
    by: 'mask',
    reason: /picks tokens by computed numbers/,
    node: /^GatherElements /,
  },
  {
    name: 'pooled features of every image added to those of every other',
    draw: ({ b, tokens }) => {
      const pooled = b.reduceMean(attend(b, tokens), { axes: [1], keepdims: 0 })
      return [b.add(b.unsqueeze(pooled, { axes: [0] }), b.unsqueeze(pooled, { axes: [1] }))]
    },
    by: 'mask',
    reason: /pairs the images of the batch/,
    node: /^Add /,
  },
  {
    name: 'attention in windows',
    draw: (pen) => [attend(pen.b, windows(pen))],
    by: 'mask',
    reason: /splits the token axis/,
    node: /^Reshape /,
  },
  {
    name: 'attention in windows at a fixed size',
    draw: (pen) => [attend(pen.b, windows(pen))],
    drawing: { dims: ['batch', 3, 16, 16] },
    by: 'dynshape',
    reason: /a size stays baked in/,
    node: /^Reshape /,
  },
  {
    name: 'a position bias on attention scores that depends on the size',
    draw: (pen) => [attend(pen.b, pen.tokens, 10, (scores) => pen.b.add(scores, pairBias(pen)))],
    by: 'mask',
    reason: /bias on attention scores/,
    node: /^Add /,
  },
  {
    name: 'a position bias on attention scores that fits one size',
    draw: ({ b, tokens }) => [attend(b, tokens, 10, (scores) => b.add(scores, weights(b, [1, HEADS, 16, 16], 71)))],
    drawing: { dims: ['batch', 3, 16, 16] },
    by: 'mask',
    reason: /bias on attention scores/,
    node: /^Add /,
  },
  {
    name: 'a sum divided by the number of tokens, computed from the size',
    draw: (pen) => {
      const { b } = pen
      const count = b.cast(patchCount(pen), { to: 'float' })
      return [b.div(b.reduceSum(attend(b, pen.tokens), { axes: [1], keepdims: 0 }), count)]
    },
    by: 'mask',
    reason: /depends on the padded size|number of tokens/,
    node: /^Div /,
  },
  {
    name: 'a sum divided by the number of tokens of one size',
    draw: ({ b, tokens }) => [b.div(b.reduceSum(attend(b, tokens), { axes: [1], keepdims: 0 }), b.float(16))],
    drawing: { dims: ['batch', 3, 16, 16] },
    by: 'mask',
    reason: /number of tokens of one size/,
    node: /^Div /,
  },
  {
    name: 'a patch picked by number',
    draw: ({ b, tokens }) => [b.gather(attend(b, tokens), b.int64(5), { axis: 1 })],
    by: 'mask',
    reason: /picks patches by number/,
    node: /^Gather /,
  },
  {
    name: 'a patch picked by number behind a class token',
    draw: (pen) => [pen.b.gather(attend(pen.b, withClassToken(pen)), pen.b.int64(1), { axis: 1 })],
    by: 'mask',
    reason: /picks patches by number/,
    node: /^Gather /,
  },
  {
    name: 'the last token',
    draw: ({ b, tokens }) => [b.gather(attend(b, tokens), b.int64(-1), { axis: 1 })],
    by: 'mask',
    reason: /picks patches by number/,
    node: /^Gather /,
  },
  {
    name: 'scores whose keys come before the batch',
    draw: ({ b, tokens }) => {
      const scores = b.transpose(b.matMul(tokens, weights(b, [WIDTH, HEADS], 72)), { perm: [1, 0, 2] })
      return [b.transpose(b.softmax(scores, { axis: 0 }), { perm: [1, 0, 2] })]
    },
    by: 'mask',
    reason: /do not begin with the batch/,
    node: /^Softmax /,
  },
  {
    name: 'tokens turned into channels by a matrix',
    draw: ({ b, tokens }) => [b.matMul(weights(b, [1, 5, 16], 73), tokens)],
    drawing: { dims: ['batch', 3, 16, 16] },
    by: 'dynshape',
    reason: /MatMul contraction of .* with a constant/,
    node: /^MatMul /,
  },
  {
    name: 'keys and values multiplied without a softmax (linear attention)',
    draw: ({ b, tokens }) => {
      const keys = b.transpose(project(b, tokens, 74), { perm: [0, 2, 1] })
      return [b.matMul(project(b, tokens, 75), b.matMul(keys, tokens))]
    },
    by: 'mask',
    reason: /not a masked softmax/,
    node: /^MatMul /,
  },
  {
    name: 'the largest patch by number',
    draw: ({ b, tokens }) => [b.cast(b.argMax(attend(b, tokens), { axis: 1, keepdims: 0 }), { to: 'float' })],
    by: 'mask',
    reason: /ArgMax runs over tokens/,
    node: /^ArgMax /,
  },
  {
    name: 'normalisation over tokens',
    draw: ({ b, tokens }) => {
      const turned = b.transpose(tokens, { perm: [0, 2, 1] })
      return [b.layerNormalization(turned, weights(b, [16], 76), { axis: -1 })]
    },
    drawing: { dims: ['batch', 3, 16, 16] },
    by: 'mask',
    reason: /runs over tokens/,
    node: /^LayerNormalization /,
  },
  {
    name: 'a running sum over tokens',
    draw: ({ b, tokens }) => [b.cumSum(tokens, { axis: b.int64(1) })],
    by: 'mask',
    reason: /CumSum/,
    node: /^CumSum /,
  },
  {
    name: 'pooling over the grid',
    draw: ({ b, grid }) => [b.maxPool(grid, { kernel_shape: [2, 2], strides: [2, 2] })],
    by: 'mask',
    reason: /MaxPool/,
    node: /^MaxPool /,
  },
  {
    name: 'overlapping patches',
    draw: ({ tokens }) => [tokens],
    drawing: { conv: { kernel_shape: [7, 7] } },
    by: 'canonical',
    reason: /kernel 7x7, stride 4x4/,
    node: /^Conv /,
  },
  {
    name: 'patches with pixels between them',
    draw: ({ tokens }) => [tokens],
    drawing: { conv: { kernel_shape: [2, 2] } },
    by: 'canonical',
    reason: /kernel 2x2, stride 4x4/,
    node: /^Conv /,
  },
  {
    name: 'a padded patch embedding',
    draw: ({ tokens }) => [tokens],
    drawing: { conv: { pads: [1, 1, 1, 1] } },
    by: 'canonical',
    reason: /pads the image/,
    node: /^Conv /,
  },
  {
    name: 'positions by sine and cosine of patch numbers',
    draw: (pen) => {
      const { b } = pen
      const count = b.squeeze(patchCount(pen), { axes: [0] })
      const numbers = b.cast(b.range(b.int64(0), count, b.int64(1)), { to: 'float' })
      const angles = b.mul(b.unsqueeze(numbers, { axes: [1] }), weights(b, [WIDTH / 2], 77))
      const positions = b.concat([b.sin(angles), b.cos(angles)], { axis: 1 })
      return [attend(b, b.add(pen.tokens, positions))]
    },
    by: 'posenc',
    reason: /computed from the image size/,
    node: /^Add /,
  },
  {
    name: 'a stored position table on a grid that is not square',
    draw: ({ b, tokens }) => [attend(b, b.add(tokens, table(b, 2 * 3, 78)))],
    drawing: { dims: ['batch', 3, 2 * PATCH, 3 * PATCH] },
    by: 'posenc',
    reason: /grid of 2x3/,
    node: /^Add /,
  },
  {
    name: 'an output that holds whole numbers for each token',
    draw: ({ b, tokens }) => [b.cast(attend(b, tokens), { to: 'int32' })],
    by: 'zero',
    reason: /int32, which has no zero for padding/,
    node: /^Cast /,
  },
  {
    name: 'an output whose first axis is not the batch',
    draw: ({ b, tokens }) => [b.transpose(attend(b, tokens), { perm: [1, 0, 2] })],
    by: 'zero',
    reason: /does not lay out one row of tokens for each image/,
    node: /^Transpose /,
  },
  {
    name: 'an output of tokens of the whole batch in one row',
    draw: ({ b, tokens }) => [b.reshape(attend(b, tokens), b.int64([-1, WIDTH]))],
    by: 'zero',
    reason: /does not lay out one row of tokens for each image/,
    node: /^Reshape /,
  },
]

describe('what no mask makes right is refused, with the node, and the model stays as it was', () => {
  it.each(CASES)('$name', ({ draw, drawing, by, reason, node }) => {
    const error = refused(drawVit(draw, drawing), ALL)
    expect(error.pass).toBe(by)
    expect(error.code).toBe('PASS_REFUSED')
    const found = error.refusals.find((refusal) => reason.test(refusal.reason))
    expect(found, JSON.stringify(error.refusals)).toBeDefined()
    expect(found?.node).toMatch(node)
    expect(error.report.passes.at(-1)?.pass).toBe(by)
  })

  it('a convolutional network', () => {
    const error = refused(parseModel(convolutionalModel()), ALL)
    expect(error.refusals[0]).toMatchObject({
      reason: 'the first convolution is no patch embedding: kernel 3x3, stride 1x1',
      node: 'Conv stem',
      remedy: expect.stringMatching(/convolutional network/),
    })
  })

  it('a model without an image input', () => {
    const error = refused(parseModel(textModel()), ALL)
    expect(error.refusals[0]?.reason).toBe('no image input: the model takes input_ids of rank 2')
    expect(error.refusals[0]?.remedy).toMatch(/vision encoder/)
  })

  it('names every node, not only the first', () => {
    const error = refused(
      drawVit(({ b, tokens }) => {
        const mixed = attend(b, tokens)
        return [b.gather(mixed, b.int64(5), { axis: 1 }), b.cumSum(mixed, { axis: b.int64(1) })]
      }),
      ['mask'],
    )
    expect(error.refusals.map(({ node }) => node?.split(' ')[0]).sort()).toEqual(['CumSum', 'Gather'])
    expect(error.message).toMatch(/and 1 more/)
  })
})

/** A pass refuses by its result, or by an error that says "not this model". */
function statusOf(run: () => PassResult): string {
  try {
    return run().status
  } catch (error) {
    const refuses = error instanceof VitpassError && ['PASS_REFUSED', 'MODEL_UNSUPPORTED'].includes(error.code)
    if (refuses) return 'refused'
    throw error
  }
}

describe('a pass that refuses leaves the model as the passes before it left it', () => {
  it.each(CASES)('$name', ({ draw, drawing, by }) => {
    const model = drawVit(draw, drawing)
    const pass = registry.passes.find(({ name }) => name === by) ?? expect.fail(`there is no pass ${by}`)
    const before = registry.passes.slice(0, registry.passes.indexOf(pass)).map(({ name }) => name)
    runPasses(registry, model, before)
    const edits = model.graph.version
    const defaults = Object.fromEntries(Object.entries(pass.options).map(([key, option]) => [key, option.default]))
    expect(statusOf(() => pass.run(model, defaults))).toBe('refused')
    expect(model.graph.version).toBe(edits)
  })
})
