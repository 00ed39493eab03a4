import { describe, expect, it } from 'vitest'
import { findPatchEmbedding } from '../../src/analysis/pixels.ts'
import { structuralMixing } from '../../src/analysis/structure.ts'
import { attr } from '../../src/ir/attribute.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { attend, drawVit, HEADS, PATCH, type Pen, WIDTH, weights } from '../support/drawn-vit.ts'
import { allFixtures } from '../support/fixtures.ts'
import { refused } from '../support/refused.ts'

const reasons = (draw: (pen: Pen) => readonly Value[]): string[] => {
  const model = drawVit(draw)
  return structuralMixing(model.graph, findPatchEmbedding(model)).map(({ reason }) => reason)
}
const kernel = ({ b }: Pen, size: number) => weights(b, [WIDTH, WIDTH, size, size], 41)

describe('what mixes patches, told from operators alone', () => {
  it.each([
    [
      'a convolution that strides',
      (pen: Pen) => [pen.b.conv(pen.grid, kernel(pen, 2), { strides: [2, 2] })],
      'convolution',
    ],
    ['a convolution without padding', (pen: Pen) => [pen.b.conv(pen.grid, kernel(pen, 3), {})], 'convolution'],
    [
      'a transposed convolution',
      (pen: Pen) => [
        pen.graph.emit('ConvTranspose', [pen.grid, kernel(pen, 2)], {
          attributes: { strides: attr.ints([2, 2]) },
        })[0] as Value,
      ],
      'convolution',
    ],
    ['a pooling', (pen: Pen) => [pen.b.maxPool(pen.grid, { kernel_shape: [2, 2] })], 'MaxPool'],
    [
      'an upsampling',
      (pen: Pen) => [pen.b.resize(pen.grid, { scales: pen.b.constant(floatTensor([4], [1, 1, 2, 2])) })],
      'Resize',
    ],
    [
      'windows',
      ({ b, tokens }: Pen) => [
        b.transpose(b.reshape(tokens, b.int64([0, -1, 2, 2, 2, WIDTH])), { perm: [0, 1, 3, 2, 4, 5] }),
      ],
      'windows',
    ],
    [
      'a table added to scores',
      ({ b, tokens }: Pen) => [attend(b, tokens, 10, (scores) => b.add(scores, weights(b, [1, HEADS, 16, 16], 42)))],
      'relative position bias',
    ],
  ])('%s', (_, draw, reason) => {
    expect(reasons(draw)).toHaveLength(1)
    expect(reasons(draw)[0]).toContain(reason)
  })

  it('is nothing in a plain transformer, nor in a convolution that keeps the grid', () => {
    expect(reasons(({ b, tokens }) => [attend(b, tokens)])).toEqual([])
    expect(reasons((pen) => [pen.b.conv(pen.grid, kernel(pen, 3), { pads: [1, 1, 1, 1] })])).toEqual([])
  })

  it.each(allFixtures().filter(({ goldenCase }) => goldenCase.origin.refuse === undefined))(
    'is nothing in $name',
    async ({ path }) => {
      const model = await readModel(path)
      expect(structuralMixing(model.graph, findPatchEmbedding(model))).toEqual([])
    },
  )
})

it('is the reason given where no size is found at which shapes agree', () => {
  const model = drawVit(
    ({ b, tokens }) => {
      const cut = b.reshape(tokens, b.int64([1, 2, 3, 2, 3, WIDTH]))
      return [b.transpose(cut, { perm: [0, 1, 3, 2, 4, 5] }), b.add(tokens, weights(b, [1, 25, WIDTH], 43))]
    },
    { dims: ['batch', 3, 5 * PATCH, 5 * PATCH] },
  )
  const error = refused(parseModel(serializeModel(model)), ['dynshape'])
  expect(error.refusals[0]?.reason).toContain('tokens are cut into windows')
})
