import { describe, expect, it } from 'vitest'
import { attr } from '../../src/ir/attribute.ts'
import type { Node } from '../../src/ir/node.ts'
import { boolTensor, floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import { canonicalRules } from '../../src/rewrite/rules/index.ts'
import { compute, feedsOf, largestDifference, operators, rewrite, type Sketch, sketch } from '../support/graphs.ts'

const TOKENS = { x: ['batch', 'tokens', 8] }
const SCORES = { s: ['batch', 2, 'tokens', 'tokens'] }

/** Rewrites a sketch drawn twice; checks that ONNX Runtime computes the same and that a second run finds nothing. */
async function settle(
  draw: () => Sketch,
  tolerance = 1e-6,
): Promise<{ ops: string[]; counts: Record<string, number> }> {
  const [original, drawn] = [draw(), draw()]
  const counts = rewrite(drawn, canonicalRules)
  const feeds = feedsOf(drawn)
  const difference = largestDifference(await compute(original.model, feeds), await compute(drawn.model, feeds))
  expect(difference).toBeLessThanOrEqual(tolerance)
  expect(rewrite(drawn, canonicalRules)).toEqual({})
  return { ops: operators(drawn), counts }
}

describe('constant-node and fold-integers', () => {
  it('make initializers of constants and of what follows from them', async () => {
    const { ops } = await settle(() =>
      sketch(17, TOKENS, (b, [x], graph) => {
        const [axis] = graph.emit('Constant', [], { attributes: { value_ints: attr.ints([1]) } })
        const doubled = b.mul(axis as Value, b.int64([2]))
        return [b.reduceMean(b.unsqueeze(x as Value, { axes: doubled }), { axes: [3] })]
      }),
    )
    expect(ops).toEqual(['Unsqueeze', 'ReduceMean'])
  })

  it('do not fold what depends on a size that only happens to be 3 here', async () => {
    const { ops } = await settle(() =>
      sketch(17, TOKENS, (b, [x]) => {
        const batch = b.gather(b.shape(x as Value), b.int64(0), { axis: 0 })
        return [b.where(b.equal(batch, b.int64(3)), x as Value, b.mul(x as Value, b.float(2)))]
      }),
    )
    expect(ops).toContain('Where')
  })
})

describe('no-op', () => {
  it('removes what hands on its input unchanged', async () => {
    const { ops, counts } = await settle(() =>
      sketch(17, TOKENS, (b, [x]) => {
        let value = b.identity(x as Value)
        value = b.transpose(value, { perm: [0, 1, 2] })
        value = b.slice(value, { starts: [0], ends: [2 ** 31], axes: [1] })
        value = b.reshape(value, b.shape(x as Value))
        value = b.add(value, b.float(0))
        value = b.expand(value, b.shape(x as Value))
        return [b.relu(value)]
      }),
    )
    expect(ops).toEqual(['Relu'])
    expect(counts['no-op']).toBe(6)
  })

  it('keeps what changes a shape, an order, or a value', async () => {
    const { ops } = await settle(() =>
      sketch(17, { x: ['batch', 1, 8] }, (b, [x]) => [
        b.relu(b.add(x as Value, b.constant(floatTensor([1, 4, 1], [0, 0, 0, 0])))),
        b.slice(x as Value, { starts: [-1], ends: [-1000], axes: [2], steps: [-1] }),
        b.sub(b.float(0), x as Value),
      ]),
    )
    expect(ops).toEqual(['Add', 'Relu', 'Slice', 'Sub'])
  })

  it('removes masks that are always true, as comparison or as added zeros, and keeps those that are not', async () => {
    const { ops } = await settle(() =>
      sketch(17, SCORES, (b, [s]) => {
        const count = b.squeeze(b.gather(b.shape(s as Value), b.int64([3]), { axis: 0 }), { axes: [0] })
        const positions = b.range(b.int64(0), count, b.int64(1))
        const always = b.greaterOrEqual(positions, b.int64(0))
        const added = b.where(always, b.float(0), b.float(-1e9))
        return [b.softmax(b.add(s as Value, added), { axis: -1 })]
      }),
    )
    expect(ops).toEqual(['Softmax'])
    const kept = await settle(() =>
      sketch(17, SCORES, (b, [s]) => {
        const count = b.squeeze(b.gather(b.shape(s as Value), b.int64([3]), { axis: 0 }), { axes: [0] })
        const positions = b.range(b.int64(0), count, b.int64(1))
        return [b.softmax(b.where(b.less(positions, b.int64(4)), s as Value, b.float(-1e9)), { axis: -1 })]
      }),
    )
    expect(kept.ops).toContain('Where')
  })
})

describe('safe-softmax', () => {
  const guarded = (b: Builder, scores: Value): Value => {
    const p = b.softmax(scores, { axis: -1 })
    return b.where(b.isNaN(p), b.float(0), p)
  }

  it('removes the guard where scores come from a matrix product', async () => {
    const { ops } = await settle(() =>
      sketch(17, TOKENS, (b, [x]) => [
        guarded(b, b.mul(b.matMul(x as Value, b.transpose(x as Value, { perm: [0, 2, 1] })), b.float(0.5))),
      ]),
    )
    expect(ops).toEqual(['Transpose', 'MatMul', 'Mul', 'Softmax'])
  })

  it('keeps the guard where a row can be masked whole', async () => {
    const { ops } = await settle(() =>
      sketch(17, { ...TOKENS, mask: ['batch', 1, 'tokens'] }, (b, [x, mask]) => {
        const scores = b.matMul(x as Value, b.transpose(x as Value, { perm: [0, 2, 1] }))
        const hidden = b.where(b.less(mask as Value, b.float(5)), b.float(Number.NEGATIVE_INFINITY), b.float(0))
        return [guarded(b, b.add(scores, hidden))]
      }),
    )
    expect(ops).toContain('IsNaN')
  })
})

describe('reshape-target', () => {
  it('reads the target off the data: computed shapes and baked numbers alike', async () => {
    const { ops } = await settle(() =>
      sketch(17, TOKENS, (b, [x]) => {
        const shape = b.shape(x as Value)
        const [batch, tokens] = [0, 1].map((axis) => b.gather(shape, b.int64([axis]), { axis: 0 })) as [Value, Value]
        const split = b.reshape(x as Value, b.concat([batch, tokens, b.int64([2]), b.int64([4])], { axis: 0 }))
        return [b.reshape(b.transpose(split, { perm: [0, 2, 1, 3] }), b.int64([3, 2, 5, 4]))]
      }),
    )
    expect(ops).toEqual(['Reshape', 'Transpose'])
  })

  it('frees numbers that spell out the batch and the tokens of the trace', () => {
    const drawn = sketch(17, TOKENS, (b, [x]) => [b.reshape(x as Value, b.int64([3, 5, 2, 4]))])
    rewrite(drawn, canonicalRules)
    const target = drawn.model.graph.nodes[0]?.input(1)?.tensor
    expect(target?.storage.kind).toBe('raw')
    expect(drawn.model.graph.nodes[0]?.input(1)?.tensor?.dims).toEqual([4])
    expect(rewrite(drawn, canonicalRules)).toEqual({})
  })
})

describe('single-transpose', () => {
  it('sees one Transpose in a merge, a permutation and a split', async () => {
    const { ops } = await settle(() =>
      sketch(17, { k: ['batch', 2, 'tokens', 4] }, (b, [k]) => {
        const merged = b.reshape(k as Value, b.int64([-1, 5, 4]))
        const turned = b.transpose(merged, { perm: [0, 2, 1] })
        return [b.relu(b.reshape(turned, b.int64([3, 2, 4, 5])))]
      }),
    )
    expect(ops).toEqual(['Transpose', 'Relu'])
  })

  it('keeps a split at other places than the merge', async () => {
    const { ops } = await settle(() =>
      sketch(17, { k: ['batch', 2, 6, 4] }, (b, [k]) => {
        const turned = b.transpose(b.reshape(k as Value, b.int64([0, 12, 4])), { perm: [0, 2, 1] })
        return [b.reshape(turned, b.int64([0, 4, 3, 4]))]
      }),
    )
    expect(ops).toEqual(['Reshape', 'Transpose', 'Reshape'])
  })
})

describe('layer-norm', () => {
  const written = (b: Builder, x: Value, squared: (d: Value) => Value): Value => {
    const d = b.sub(x, b.reduceMean(x, { axes: [-1] }))
    const deviation = b.sqrt(b.add(b.reduceMean(squared(d), { axes: [-1] }), b.float(1e-5)))
    const scale = b.constant(floatTensor([8], [1, 2, 3, 4, 5, 6, 7, 8]))
    return b.add(b.mul(b.div(d, deviation), scale), b.constant(floatTensor([8], [8, 7, 6, 5, 4, 3, 2, 1])))
  }

  it.each([
    ['Pow', (b: Builder) => (d: Value) => b.pow(d, b.float(2))],
    ['Mul', (b: Builder) => (d: Value) => b.mul(d, d)],
  ])('recomposes it from opset 17 on (%s)', async (_, square) => {
    const { ops } = await settle(() => sketch(17, TOKENS, (b, [x]) => [written(b, x as Value, square(b))]), 1e-5)
    expect(ops).toEqual(['LayerNormalization'])
  })

  it('leaves it below opset 17, and a mean over another axis', async () => {
    const below = await settle(() => sketch(14, TOKENS, (b, [x]) => [written(b, x as Value, (d) => b.mul(d, d))]))
    expect(below.ops).toHaveLength(9)
    const other = await settle(() =>
      sketch(17, TOKENS, (b, [x]) => {
        const d = b.sub(x as Value, b.reduceMean(x as Value, { axes: [1] }))
        const deviation = b.sqrt(b.add(b.reduceMean(b.mul(d, d), { axes: [-1] }), b.float(1e-5)))
        const scale = b.constant(floatTensor([8], [1, 2, 3, 4, 5, 6, 7, 8]))
        return [b.add(b.mul(b.div(d, deviation), scale), scale)]
      }),
    )
    expect(other.ops).not.toContain('LayerNormalization')
  })
})

describe('gelu', () => {
  const byErf = (b: Builder, x: Value): Value =>
    b.mul(b.mul(x, b.add(b.erf(b.div(x, b.float(Math.SQRT2))), b.float(1))), b.float(0.5))
  const byTanh = (b: Builder, x: Value): Value => {
    const cubed = b.mul(b.float(0.044715), b.pow(x, b.float(3)))
    const gate = b.tanh(b.mul(b.float(Math.sqrt(2 / Math.PI)), b.add(x, cubed)))
    return b.mul(b.mul(b.float(0.5), x), b.add(b.float(1), gate))
  }

  it.each([
    ['erf', byErf],
    ['tanh', byTanh],
  ])('recomposes it from opset 20 on (%s)', async (_, write) => {
    const { ops } = await settle(() => sketch(20, TOKENS, (b, [x]) => [write(b, b.relu(x as Value))]), 1e-5)
    expect(ops).toEqual(['Relu', 'Gelu'])
  })

  it('leaves it below opset 20, and what only looks like it', async () => {
    const below = await settle(() => sketch(17, TOKENS, (b, [x]) => [byErf(b, x as Value)]))
    expect(below.ops).not.toContain('Gelu')
    const other = await settle(() =>
      sketch(20, TOKENS, (b, [x]) => [
        b.mul(b.mul(x as Value, b.add(b.erf(b.div(x as Value, b.float(2))), b.float(1))), b.float(0.5)),
      ]),
    )
    expect(other.ops).not.toContain('Gelu')
  })
})

describe('gelu order', () => {
  const halvedFirst = (b: Builder, x: Value): Value =>
    b.mul(x, b.mul(0.5, b.add(b.erf(b.div(x, b.float(Math.SQRT2))), 1)))

  it('puts the half last below opset 20, as ONNX Runtime looks for it', async () => {
    const { ops, counts } = await settle(() => sketch(18, TOKENS, (b, [x]) => [halvedFirst(b, x as Value)]))
    expect(counts).toEqual({ 'gelu order': 1 })
    expect(ops).toEqual(['Div', 'Erf', 'Add', 'Mul', 'Mul'])
  })

  it('leaves one that has it last', async () => {
    const { counts } = await settle(() =>
      sketch(18, TOKENS, (b, [x]) => {
        const gate = b.add(b.erf(b.div(x as Value, b.float(Math.SQRT2))), 1)
        return [b.mul(b.mul(x as Value, gate), 0.5)]
      }),
    )
    expect(counts).toEqual({})
  })
})

describe('key transpose', () => {
  const HEADS = { q: ['batch', 'tokens', 2, 4], k: ['batch', 'tokens', 2, 4] }

  it('splits off the swap of the last axes where only a product reads it', async () => {
    const { ops } = await settle(() =>
      sketch(17, HEADS, (b, [q, k]) => [
        b.matMul(b.transpose(q as Value, { perm: [0, 2, 1, 3] }), b.transpose(k as Value, { perm: [0, 2, 3, 1] })),
      ]),
    )
    expect(ops).toEqual(['Transpose', 'Transpose', 'Transpose', 'MatMul'])
  })

  it('leaves a transpose that something else reads', async () => {
    const { ops } = await settle(() =>
      sketch(17, HEADS, (b, [q, k]) => {
        const keys = b.transpose(k as Value, { perm: [0, 2, 3, 1] })
        return [b.matMul(b.transpose(q as Value, { perm: [0, 2, 1, 3] }), keys), b.relu(keys)]
      }),
    )
    expect(ops.filter((op) => op === 'Transpose')).toHaveLength(2)
  })
})

describe('flat softmax', () => {
  it('softens unmerged scores where the last axis stays whole', async () => {
    const { ops } = await settle(() =>
      sketch(17, SCORES, (b, [s]) => {
        const flat = b.softmax(b.reshape(s as Value, b.int64([30, 5])), { axis: -1 })
        return [b.reshape(flat, b.int64([3, 2, 5, 5]))]
      }),
    )
    expect(ops).toEqual(['Softmax'])
  })

  it('keeps a softmax over several axes at once', async () => {
    const { ops } = await settle(() =>
      sketch(17, SCORES, (b, [s]) => {
        const flat = b.softmax(b.reshape(s as Value, b.int64([6, 25])), { axis: -1 })
        return [b.reshape(flat, b.int64([3, 2, 5, 5]))]
      }),
    )
    expect(ops).toEqual(['Reshape', 'Softmax', 'Reshape'])
  })
})

describe('idle mask', () => {
  const QKV = { q: ['batch', 2, 'tokens', 4], k: ['batch', 2, 'tokens', 4], v: ['batch', 2, 'tokens', 4] }
  const attention = (hidden: boolean) => () =>
    sketch(23, QKV, (_, [q, k, v], graph) => {
      const seen = Array.from({ length: 25 }, (__, i) => !hidden || i % 5 < 4)
      const mask = graph.addInitializer('mask', boolTensor([5, 5], seen))
      return graph.emit('Attention', [q as Value, k as Value, v as Value, mask])
    })

  it('drops a stored mask that is all true, which would fit one token count only', async () => {
    const { counts } = await settle(attention(false))
    expect(counts).toEqual({ 'idle mask': 1 })
  })

  it('keeps a mask that hides something', async () => {
    const { counts } = await settle(attention(true))
    expect(counts).toEqual({})
  })
})

describe('the engine', () => {
  it('stops a rule that would change the shape of a value', () => {
    const drawn = sketch(17, TOKENS, (b, [x]) => [b.relu(b.transpose(x as Value, { perm: [0, 2, 1] }))])
    const broken = {
      name: 'broken',
      match: (node: Node) => {
        const [old, next] = [node.output(0), node.input(0)]
        return node.is('Transpose') && old !== null && next !== null ? { old, next } : null
      },
    }
    expect(() => rewrite(drawn, [broken])).toThrow(
      /rule broken would put float\[batch, tokens, 8\] in place of float\[batch, 8, tokens\]/,
    )
  })
})

describe('key-bias', () => {
  const QKV = { q: ['batch', 2, 'tokens', 4], x: ['batch', 'tokens', 8] }
  const bias = () => floatTensor([8], [3, -2, 1, 0.5, -1, 2, -3, 4])
  const split = (b: Builder, x: Value) => b.transpose(b.reshape(x, b.int64([0, 0, 2, 4])), { perm: [0, 2, 3, 1] })
  const attend = (b: Builder, q: Value, k: Value) =>
    b.softmax(b.add(b.mul(b.matMul(q, k), b.float(0.5)), b.float(1)), { axis: -1 })

  it('drops a bias that all keys share', async () => {
    const { ops, counts } = await settle(() =>
      sketch(17, QKV, (b, [q, x]) => [attend(b, q as Value, split(b, b.add(x as Value, b.constant(bias()))))]),
    )
    expect(counts['key bias']).toBe(1)
    expect(ops.filter((op) => op === 'Add')).toHaveLength(1)
  })

  it.each<[string, (b: Builder, q: Value, x: Value) => Value[]]>([
    ['of the queries', (b, q, x) => [attend(b, b.add(q, b.constant(floatTensor([4], [3, -2, 1, 0.5]))), split(b, x))]],
    [
      'where the keys are read elsewhere too',
      (b, q, x) => {
        const biased = b.add(x, b.constant(bias()))
        return [attend(b, q, split(b, biased)), b.relu(biased)]
      },
    ],
    [
      'where the scores are an output',
      (b, q, x) => {
        const scores = b.matMul(q, split(b, b.add(x, b.constant(bias()))))
        return [b.softmax(scores, { axis: -1 }), scores]
      },
    ],
    [
      'where Softmax runs over the queries',
      (b, q, x) => [b.softmax(b.matMul(q, split(b, b.add(x, b.constant(bias())))), { axis: 2 })],
    ],
    [
      'where the keys are normalised after it',
      (b, q, x) => [attend(b, q, split(b, b.tanh(b.add(x, b.constant(bias())))))],
    ],
    [
      'where the sum is scaled by key',
      (b, q, x) => {
        const scores = b.matMul(q, split(b, b.add(x, b.constant(bias()))))
        return [b.softmax(b.mul(scores, b.reduceMax(scores, { axes: [2], keepdims: 1 })), { axis: -1 })]
      },
    ],
  ])('keeps one %s', async (_, draw) => {
    const { counts } = await settle(() => sketch(17, QKV, (b, [q, x]) => draw(b, q as Value, x as Value)))
    expect(counts['key bias']).toBeUndefined()
  })
})
