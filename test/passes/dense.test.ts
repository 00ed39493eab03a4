import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import { readProvenance } from '../../src/ir/provenance.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { readSubject } from '../../src/verify/subject.ts'
import { attend, drawVit, type Pen, paddedAgainstAlone, WIDTH, weights } from '../support/drawn-vit.ts'
import type { Axis } from '../support/layout.ts'
import { refused } from '../support/refused.ts'

const SIZES = [
  { height: 16, width: 16 },
  { height: 8, width: 20 },
  { height: 4, width: 4 },
  { height: 28, width: 4 },
]

/** Tokens after attention, as a grid [batch, 8, rows, columns] again. */
function attendedGrid({ b, grid, tokens }: Pen): Value {
  return b.reshape(b.transpose(attend(b, tokens), { perm: [0, 2, 1] }), b.shape(grid))
}

function convolve({ b }: Pen, x: Value, seed: number, kernel = 3, pad = 1, dilation = 1): Value {
  return b.conv(x, weights(b, [WIDTH, WIDTH, kernel, kernel], seed), {
    bias: weights(b, [WIDTH], seed + 1),
    pads: [pad, pad, pad, pad],
    dilations: [dilation, dilation],
  })
}

function upsampled({ b }: Pen, x: Value): Value {
  return b.resize(x, { scales: b.constant(floatTensor([4], [1, 1, 2, 2])), mode: 'linear' })
}

const written = (model: Model): Model => parseModel(serializeModel(model))

describe('convolutions that keep the patch grid', () => {
  it.each([
    ['two of 3 by 3', (pen: Pen) => convolve(pen, pen.b.relu(convolve(pen, attendedGrid(pen), 51)), 53)],
    ['one of 5 by 5', (pen: Pen) => convolve(pen, attendedGrid(pen), 55, 5, 2)],
    ['a dilated one', (pen: Pen) => convolve(pen, attendedGrid(pen), 57, 3, 2, 2)],
  ])('read zeros at padding: %s', async (_, draw) => {
    const [original, transformed] = [drawVit((pen) => [draw(pen)]), drawVit((pen) => [draw(pen)])]
    const report = runPasses(registry, transformed, ['mask', 'zero'])
    expect(report.passes.find(({ pass }) => pass === 'mask')?.sites.convolution).toBeGreaterThan(0)
    const layout: readonly Axis[] = ['fixed', 'rows', 'cols']
    const { own, padding } = await paddedAgainstAlone({ original, transformed }, { y0: layout }, SIZES)
    expect(own).toBeLessThan(1e-5)
    expect(padding).toBe(0)
  })

  it.each([
    ['one that shrinks the grid', (pen: Pen) => convolve(pen, attendedGrid(pen), 61, 3, 0)],
    ['one that strides', ({ b, grid }: Pen) => b.conv(grid, weights(b, [8, 8, 2, 2], 63), { strides: [2, 2] })],
    ['upsampling', (pen: Pen) => upsampled(pen, attendedGrid(pen))],
  ])('are refused otherwise: %s', (_, draw) => {
    const error = refused(written(drawVit((pen) => [draw(pen)])), ['mask'])
    expect(error.refusals[0]?.reason).toMatch(/mixes neighbours|blends neighbouring/)
    expect(error.refusals[0]?.node).toBeDefined()
  })
})

describe('mask.allowDense', () => {
  const heads = (pen: Pen): Value[] => {
    const grid = attendedGrid(pen)
    return [pen.b.reduceMean(attend(pen.b, pen.tokens), { axes: [1], keepdims: 0 }), upsampled(pen, grid)]
  }
  const allowed = { mask: { allowDense: true } }

  it('keeps what blends neighbours by name, and makes the other outputs right', async () => {
    const [original, transformed] = [drawVit(heads), drawVit(heads)]
    const report = runPasses(registry, transformed, ['mask', 'zero'], allowed)
    const notes = report.passes.find(({ pass }) => pass === 'mask')?.notes ?? []
    expect(notes.join()).toMatch(/output y1 is not exact: Resize blends/)
    expect(notes.join()).not.toContain('y0')
    expect(readProvenance(transformed).inexact).toEqual(['y1'])
    const { own, padding } = await paddedAgainstAlone({ original, transformed }, { y0: ['fixed'] }, SIZES)
    expect(own).toBeLessThan(1e-5)
    expect(padding).toBe(0)
  })

  it('is what verification leaves out, and says so', () => {
    const [original, transformed] = [drawVit(heads), drawVit(heads)]
    runPasses(registry, transformed, ['mask', 'zero'], allowed)
    const subject = readSubject(original, transformed, { original: 'a', transformed: 'b' })
    expect([...subject.layouts.keys()]).toEqual(['y0'])
    expect(subject.left.map(({ output }) => output)).toEqual(['y1'])
  })

  it('leaves nothing out of a model without such outputs', () => {
    const model = drawVit(({ b, tokens }) => [attend(b, tokens)])
    runPasses(registry, model, ['mask'], allowed)
    expect(readProvenance(model).inexact).toBeUndefined()
  })

  it('lets no image see another, behind a dense head or before it', () => {
    const mixing = (pen: Pen): Value[] => [
      pen.b.reduceMean(upsampled(pen, attendedGrid(pen)), { axes: [0], keepdims: 1 }),
    ]
    expect(
      refused(written(drawVit(mixing)), ['mask'], allowed)
        .refusals.map(({ reason }) => reason)
        .join(),
    ).toContain('over the batch')
    const shuffled = ({ b, tokens }: Pen): Value[] => [b.matMul(b.transpose(tokens, { perm: [0, 2, 1] }), tokens)]
    refused(written(drawVit(shuffled)), ['mask'], allowed)
  })
})
