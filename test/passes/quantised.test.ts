import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { readAnatomy } from '../../src/analysis/anatomy.ts'
import { attr } from '../../src/ir/attribute.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor, type IntDType, intTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { HOW, resized } from '../support/drawn-positions.ts'
import {
  attend,
  type Drawing,
  drawVit,
  inHeads,
  type Pen,
  paddedAgainstAlone,
  project,
  scoresOf,
  WIDTH,
  weights,
  withClassToken,
} from '../support/drawn-vit.ts'
import { noise, open, sketch } from '../support/graphs.ts'
import { refused } from '../support/refused.ts'

/** How numbers are written as integers. */
interface Code {
  readonly scale: number
  readonly zero: number
  readonly dtype: IntDType
}

const UNSIGNED: Code = { scale: 1 / 255, zero: 0, dtype: 'uint8' }
const SIGNED: Code = { scale: 1 / 255, zero: -128, dtype: 'int8' }
const SIZES = [
  { height: 8, width: 12 },
  { height: 16, width: 4 },
  { height: 4, width: 20 },
  { height: 20, width: 16 },
]
const ONE = SIZES.slice(0, 1)

const zeroOf = (b: Builder, { zero, dtype }: Code) => b.constant(intTensor(dtype, [], [zero]))
const quantised = (b: Builder, x: Value, code: Code) =>
  b.quantizeLinear(x, b.float(code.scale), { zeroPoint: zeroOf(b, code) })
const readBack = (b: Builder, x: Value, code: Code) =>
  b.dequantizeLinear(x, b.float(code.scale), { zeroPoint: zeroOf(b, code) })

function integers(b: Builder, dims: readonly number[], seed: number): Value {
  return b.constant(
    intTensor(
      'int8',
      dims,
      [...noise(dims, seed).data].map((x) => Math.round(x * 60)),
    ),
  )
}

/** Attention whose probabilities are quantised, and given back to floats or multiplied as they are by `weigh`. */
const attention = (weigh: (pen: Pen, probabilities: Value, values: Value) => Value) => (pen: Pen) => {
  const { b } = pen
  const x = withClassToken(pen)
  const mixed = weigh(pen, b.softmax(scoresOf(b, x, 10), { axis: -1 }), inHeads(b, project(b, x, 12)))
  return [b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), b.int64([0, 0, WIDTH]))]
}

/** int32 product of quantised probabilities and values [batch, heads, tokens, 4]. */
function integerProduct({ b, graph }: Pen, quantities: Value, zero: Value): (values: Value) => Value {
  return (values) => {
    const code: Code = { scale: 0.05, zero: 3, dtype: 'int8' }
    const [product] = graph.emit('MatMulInteger', [quantities, quantised(b, values, code), zero, zeroOf(b, code)])
    return b.mul(b.cast(product as Value, { to: 'float' }), b.float(code.scale * UNSIGNED.scale))
  }
}

function dynamic({ graph }: Pick<Pen, 'graph'>, x: Value): [Value, Value, Value] {
  return graph.emit('DynamicQuantizeLinear', [x], { outputs: 3 }) as [Value, Value, Value]
}

/** [batch, tokens, 8] by a matrix of integers, scaled by what `x` holds at the time. */
function dynamicProduct(pen: Pen, x: Value, seed: number): Value {
  const { b, graph } = pen
  const [q, scale, zero] = dynamic(pen, x)
  const [product] = graph.emit('MatMulInteger', [q, integers(b, [WIDTH, WIDTH], seed), zero])
  return b.mul(b.cast(product as Value, { to: 'float' }), b.mul(scale, b.float(1 / 127)))
}

/** Tokens behind a class token that are largest where there is no image: there the patch convolution gives its bias alone. */
function loudPadding(pen: Pen): Value {
  const { b } = pen
  const off = b.sub(pen.tokens, weights(b, [WIDTH], 2))
  return withClassToken({ ...pen, tokens: b.mul(b.exp(b.neg(b.mul(off, off))), b.float(10)) })
}

async function agrees(draw: (pen: Pen) => readonly Value[], sizes = SIZES, drawing: Drawing = {}, prefix = 1) {
  const make = (): Model => drawVit(draw, { opset: 17, ...drawing })
  const [original, transformed] = [make(), make()]
  const report = runPasses(registry, transformed, ['mask', 'posenc', 'zero'])
  const found = await paddedAgainstAlone(
    { original, transformed },
    { y0: ['tokens', 'fixed'] },
    sizes,
    prefix,
    'literal',
  )
  expect(found.padding).toBe(0)
  expect(found.own).toBeLessThan(1e-5)
  return report
}

describe('zeros of a masked softmax', () => {
  it.each([
    ['unsigned', UNSIGNED],
    ['signed', SIGNED],
  ])('stay zeros where they are quantised and read back, %s', async (_, code) => {
    await agrees(attention(({ b }, p, v) => b.matMul(readBack(b, quantised(b, p, code), code), v)))
  })

  it('stay zeros in an integer product with their zero point', async () => {
    await agrees(attention((pen, p, v) => integerProduct(pen, quantised(pen.b, p, SIGNED), zeroOf(pen.b, SIGNED))(v)))
  })

  it('stay zeros where they are moved while quantised', async () => {
    const turned = attention(({ b }, p, v) => {
      const across = b.transpose(quantised(b, p, SIGNED), { perm: [0, 1, 3, 2] })
      return b.matMul(b.transpose(readBack(b, across, SIGNED), { perm: [0, 1, 3, 2] }), v)
    })
    await agrees(turned)
  })

  it('stay zeros through a dynamic quantisation', async () => {
    const weigh = attention((pen, p, v) => {
      const [q, scale, zero] = dynamic(pen, p)
      return pen.b.mul(integerProduct(pen, q, zero)(v), pen.b.mul(scale, pen.b.float(255)))
    })
    await agrees(weigh, ONE)
  })

  it.each<[string, ReturnType<typeof attention>, RegExp]>([
    [
      'are read back by another zero point',
      attention(({ b }, p, v) => b.matMul(readBack(b, quantised(b, p, SIGNED), { ...SIGNED, zero: -127 }), v)),
      /^MatMul /,
    ],
    [
      'are multiplied as if another number were 0',
      attention((pen, p, v) =>
        integerProduct(pen, quantised(pen.b, p, SIGNED), zeroOf(pen.b, { ...SIGNED, zero: 0 }))(v),
      ),
      /^MatMulInteger /,
    ],
    [
      'change their type as they are',
      attention(({ b }, p, v) => b.matMul(b.cast(quantised(b, p, SIGNED), { to: 'float' }), v)),
      /^MatMul /,
    ],
  ])('are refused where they %s', (_, draw, node) => {
    const [first] = refused(drawVit(draw), ['mask']).refusals
    expect(first?.reason).toMatch(/weights that are not a masked softmax's/)
    expect(first?.node).toMatch(node)
  })
})

describe('a dynamic quantisation', () => {
  it('takes its scale from what belongs to images', async () => {
    const report = await agrees((pen) => [dynamicProduct(pen, attend(pen.b, loudPadding(pen)), 20)], ONE)
    expect(report.passes.find(({ pass }) => pass === 'mask')).toMatchObject({
      sites: { 'dynamic quantisation': 1 },
      notes: [expect.stringMatching(/one scale for the whole batch/)],
    })
  })

  it.each<[string, (pen: Pen) => Value]>([
    [
      'tokens stand before the batch',
      (pen) => {
        const turned = pen.b.transpose(loudPadding(pen), { perm: [1, 0, 2] })
        return pen.b.transpose(dynamicProduct(pen, turned, 20), { perm: [1, 0, 2] })
      },
    ],
    [
      'batch and tokens are one axis',
      (pen) => {
        const x = loudPadding(pen)
        const flat = dynamicProduct(pen, pen.b.reshape(x, pen.b.int64([-1, WIDTH])), 20)
        return pen.b.reshape(flat, pen.b.shape(x))
      },
    ],
  ])('does so where %s', async (_, draw) => {
    const report = await agrees((pen) => [draw(pen)], ONE)
    expect(report.passes.find(({ pass }) => pass === 'mask')?.notes[0]).not.toMatch(/padding/)
  })

  it('of the image is kept clear of what stands in the padding where sizes are given', async () => {
    const prepare = (b: Builder, pixels: Value) => {
      const [q, scale, zero] = dynamic({ graph: b.graph }, pixels)
      return b.dequantizeLinear(q, scale, { zeroPoint: zero })
    }
    const make = () => drawVit(({ tokens }) => [tokens], { prepare })
    const model = make()
    runPasses(registry, model, ['mask', 'zero'], { mask: { source: 'sizes' } })
    const sizes = { data: BigInt64Array.from([8n, 8n]), dims: [1, 2] }
    const image = noise([1, 3, 8, 8], 3)
    const wide = noise([1, 3, 8, 12], 4)
    const loud = {
      ...wide,
      data: wide.data.map((x, i) => (i % 12 < 8 ? (image.data[Math.floor(i / 12) * 8 + (i % 12)] ?? 0) : 9 * x)),
    }
    const [padded, alone] = [await open(model, 'literal'), await open(make(), 'literal')]
    const got = (await padded.run({ pixels: loud, image_sizes: sizes })).get('y0')?.data ?? []
    const wanted = (await alone.run({ pixels: image })).get('y0')?.data ?? []
    const own = [...got].filter((_, i) => Math.floor(i / WIDTH) % 3 < 2)
    expect(own.length).toBe(wanted.length)
    for (const [i, x] of own.entries()) expect(x).toBeCloseTo(wanted[i] ?? Number.NaN, 5)
  })
})

it('refuses a scale for each token of one size', () => {
  const draw = ({ b, tokens }: Pen) => {
    const steps = b.constant(floatTensor([6], [1, 2, 3, 4, 5, 6]))
    const zeros = b.constant(intTensor('int8', [6], [0, 0, 0, 0, 0, 0]))
    return [
      b.dequantizeLinear(b.quantizeLinear(tokens, steps, { zeroPoint: zeros, axis: 1 }), steps, {
        zeroPoint: zeros,
        axis: 1,
      }),
    ]
  }
  const error = refused(drawVit(draw, { dims: ['batch', 3, 8, 12] }), ['mask'])
  expect(error.refusals[0]?.reason).toMatch(/scale for each token/)
})

it('follows packed weights of a few bits', async () => {
  const packed = ({ b, graph }: Pen, x: Value) => {
    const bytes = b.constant(
      intTensor(
        'uint8',
        [WIDTH, 1, 16],
        Array.from({ length: WIDTH * 16 }, (_, i) => (i * 37) % 251),
      ),
    )
    const scales = b.constant(
      floatTensor(
        [WIDTH],
        Array.from({ length: WIDTH }, (_, i) => 0.02 + i / 100),
      ),
    )
    const attributes = { K: attr.int(WIDTH), N: attr.int(WIDTH), bits: attr.int(4), block_size: attr.int(32) }
    const [y] = graph.emit('MatMulNBits', [x, bytes, scales], { domain: 'com.microsoft', attributes })
    return y as Value
  }
  await agrees((pen) => [packed(pen, attend(pen.b, packed(pen, withClassToken(pen))))])
})

describe('positions', () => {
  const rounded = (b: Builder, x: Value, code: Code) => readBack(b, quantised(b, x, code), code)
  const COARSE: Code = { scale: 0.05, zero: 7, dtype: 'int8' }

  it('are rounded as the graph rounds the resized table', async () => {
    const draw = (pen: Pen) => [
      pen.b.add(pen.tokens, rounded(pen.b, resized(pen, { rows: 4, cols: 4 }, 'cubic'), COARSE)),
    ]
    await agrees(draw, SIZES, { opset: 18 }, 0)
  })

  it('of the prefix are read as they are', async () => {
    const draw = (pen: Pen) => {
      const { b } = pen
      const front = b.dequantizeLinear(integers(b, [1, 1, WIDTH], 4), b.float(0.02))
      const table = b.concat([front, rounded(b, resized(pen, { rows: 3, cols: 5 }, 'cubic'), COARSE)], { axis: 1 })
      return [b.add(withClassToken(pen), rounded(b, table, { ...COARSE, scale: 0.08 }))]
    }
    await agrees(draw, SIZES, { opset: 18 })
  })

  it('are read from integers with a scale for each channel', async () => {
    const draw = (pen: Pen) => {
      const { b } = pen
      const steps = b.constant(
        floatTensor(
          [WIDTH],
          Array.from({ length: WIDTH }, (_, i) => 0.01 * (i + 1)),
        ),
      )
      const zeros = b.constant(
        intTensor(
          'int8',
          [WIDTH],
          Array.from({ length: WIDTH }, (_, i) => i - 3),
        ),
      )
      const table = b.dequantizeLinear(integers(b, [1, WIDTH, 4, 4], 6), steps, { zeroPoint: zeros, axis: 1 })
      const grid = b.slice(b.shape(pen.grid), { starts: [2], ends: [4], axes: [0] })
      const wide = b.resize(table, { sizes: b.concat([b.int64([1, WIDTH]), grid], { axis: 0 }), ...HOW.cubic })
      return [b.add(pen.tokens, b.transpose(b.reshape(wide, b.int64([1, WIDTH, -1])), { perm: [0, 2, 1] }))]
    }
    await agrees(draw, SIZES, { opset: 18 }, 0)
  })

  it('are refused where they are read back by another scale', () => {
    const draw = (pen: Pen) => {
      const integersOf = quantised(pen.b, resized(pen, { rows: 4, cols: 4 }, 'cubic'), COARSE)
      return [pen.b.add(pen.tokens, readBack(pen.b, integersOf, { ...COARSE, scale: 0.06 }))]
    }
    expect(refused(drawVit(draw, { opset: 18 }), ['posenc']).refusals[0]?.reason).toMatch(/read back by another scale/)
  })
})

it('looks for kernel and channels behind weights of another type', () => {
  const { model } = sketch(17, { pixels: ['batch', 'channels', 'height', 'width'] }, (b, [pixels], graph) => {
    const weight = b.dequantizeLinear(b.cast(integers(b, [WIDTH, 1, 4, 6], 8), { to: 'int8' }), b.float(0.01))
    const [grid] = graph.emit('Conv', [pixels as Value, weight], { attributes: { strides: attr.ints([4, 6]) } })
    return [grid as Value]
  })
  expect(readAnatomy(model)).toMatchObject({ input: { channels: 1 }, patch: { height: 4, width: 6 }, hidden: WIDTH })
})
