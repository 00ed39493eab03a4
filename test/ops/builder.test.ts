import { describe, expect, it } from 'vitest'
import { VitpassError } from '../../src/errors.ts'
import { attr } from '../../src/ir/attribute.ts'
import { readFloats, readInts } from '../../src/ir/tensor-data.ts'
import { Value } from '../../src/ir/value.ts'
import { Builder } from '../../src/ops/builder.ts'
import { bool, float, int64, newGraph } from './run-graph.ts'

const X = float([2, 3], [1, 2, 3, 4, 5, 6])
const N = int64([2], [2, 3])

function graphOf(opset: number, ...options: Parameters<typeof newGraph>[2][]) {
  const made = newGraph(opset, [X, N], options[0])
  const [x, n] = made.values as [Value, Value]
  return { ...made, x, n, ops: () => made.graph.nodes.map((node) => node.opType) }
}

function refusal(action: () => unknown): VitpassError {
  try {
    action()
  } catch (error) {
    if (error instanceof VitpassError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('form', () => {
  it.each([
    [11, false],
    [12, false],
    [13, true],
    [20, true],
  ])('of the axes of Unsqueeze and ReduceSum in opset %d: input %s', (opset, asInput) => {
    const { b, x } = graphOf(opset)
    for (const made of [b.unsqueeze(x, { axes: [0] }), b.reduceSum(x, { axes: [0] })]) {
      const axes = made.producer?.input(1)?.tensor
      expect(axes == null ? null : readInts(axes)).toEqual(asInput ? [0] : null)
      expect(made.producer?.ints('axes')).toEqual(asInput ? undefined : [0])
    }
  })

  it('of the axes of ReduceMax changes at 18 only', () => {
    for (const opset of [11, 13, 17])
      expect(
        graphOf(opset)
          .b.reduceMax(graphOf(opset).x, { axes: [1] })
          .producer?.ints('axes'),
      ).toEqual([1])
    const { b, x } = graphOf(18)
    expect(b.reduceMax(x, { axes: [1] }).producer?.attributes.size).toBe(0)
  })

  it('spells out what an equal Split says from opset 18', () => {
    const parts = (opset: number) => {
      const { b, x } = graphOf(opset)
      return b.split(x, { outputs: 3, axis: 1 })[0]?.producer
    }
    expect([...(parts(17)?.attributes.keys() ?? [])]).toEqual(['axis'])
    expect(parts(18)?.int('num_outputs')).toBe(3)
  })

  it('always says the axis of Softmax, whose default changed', () => {
    for (const opset of [11, 13]) {
      const { b, x } = graphOf(opset)
      expect(b.softmax(x).producer?.int('axis')).toBe(-1)
    }
  })

  it('leaves out trailing optional inputs and keeps a gap before a given one', () => {
    const { b, x, ops } = graphOf(13)
    expect(b.clip(x, { min: 0 }).producer?.inputs.length).toBe(2)
    const upper = b.clip(x, { max: 1 }).producer
    expect([upper?.inputs.length, upper?.input(1)]).toEqual([3, null])
    expect(ops()).toEqual(['Clip', 'Clip'])
  })

  it('drops an argument that an old opset lacks when it means nothing there', () => {
    const { b, x } = graphOf(11)
    expect([...(b.reshape(x, [6], { allowzero: 0 }).producer?.attributes.keys() ?? [])]).toEqual([])
    expect(b.argMax(x, { axis: 1, select_last_index: 0 }).producer?.attributes.has('select_last_index')).toBe(false)
  })

  it('takes the newest version for an opset that the tables do not know', () => {
    const { b, x } = graphOf(99)
    expect(b.layerNormalization(x, b.float([1, 1, 1])).producer?.opType).toBe('LayerNormalization')
  })
})

describe('refusals', () => {
  it('say which opset has the operator', () => {
    const { b, x } = graphOf(16)
    const { code, message, remedy } = refusal(() => b.layerNormalization(x, x))
    expect([code, message, remedy]).toEqual([
      'MODEL_UNSUPPORTED',
      'opset 16 has no operator LayerNormalization',
      "raise the model's opset to 17 or later",
    ])
  })

  it('say where an attribute cannot be computed', () => {
    const { b, x, n } = graphOf(12)
    const { message, remedy } = refusal(() => b.unsqueeze(x, { axes: n }))
    expect(message).toBe('axes of Unsqueeze is an attribute in opset 12 and cannot be computed')
    expect(remedy).toBe("raise the model's opset to 13 or later")
  })

  it('do not take the default of an input, which the caller can override, for a constant', () => {
    const { b, graph, x } = graphOf(12)
    const axes = b.int64([0])
    graph.addInput(axes)
    expect(refusal(() => b.unsqueeze(x, { axes })).code).toBe('MODEL_UNSUPPORTED')
  })

  it('say which argument is missing in the opset', () => {
    const { b, x } = graphOf(11)
    expect(refusal(() => b.reshape(x, [6], { allowzero: 1 })).remedy).toBe("raise the model's opset to 14 or later")
  })

  it('say which type is not taken, and by when it is', () => {
    const { graph, b } = newGraph(12, [bool([2], [1, 0])])
    const [p] = graph.inputs as [Value]
    const pad = refusal(() => b.pad(p, { pads: [1, 0] }))
    expect(pad.message).toBe('Pad of opset 12 does not take bool for data (x0)')
    expect(pad.remedy).toBe("raise the model's opset to 13 or later")
    expect(refusal(() => b.sqrt(p)).remedy).toBe('cast it to a type that it takes')
    expect(refusal(() => b.cast(p, { to: 'bfloat16' })).remedy).toBe("raise the model's opset to 13 or later")
  })

  it('name both values of a mixed operation', () => {
    const { b, x, n } = graphOf(17)
    const { code, message } = refusal(() => b.add(x, n))
    expect([code, message]).toEqual(['INTERNAL', 'Add needs one type: x0 is float, x1 is int64'])
  })

  it('need a value beside numbers', () => {
    expect(refusal(() => graphOf(17).b.add(1, 2)).message).toContain('numbers only')
  })

  it('of a Softmax over another axis below 13 when the rank is not known', () => {
    const { b, values } = newGraph(11, [X], {}, false)
    const [x] = values as [Value]
    expect(b.softmax(x).producer?.opType).toBe('Softmax')
    expect(refusal(() => b.softmax(x, { axis: 0 })).remedy).toBe("raise the model's opset to 13 or later")
  })

  it('leave the graph as it was', () => {
    const { b, x, n, graph } = graphOf(12)
    const before = graph.version
    refusal(() => b.unsqueeze(x, { axes: n }))
    refusal(() => b.gelu(x))
    refusal(() => b.add(x, n))
    expect([graph.version, graph.nodes.length, graph.initializers.length]).toEqual([before, 0, 0])
  })
})

describe('emulations', () => {
  it.each([
    [11, ['Less', 'Not']],
    [12, ['GreaterOrEqual']],
  ])('GreaterOrEqual in opset %d', (opset, expected) => {
    const { b, x, ops } = graphOf(opset)
    b.greaterOrEqual(x, 0)
    expect(ops()).toEqual(expected)
  })

  it.each([
    [11, ['Greater', 'Where']],
    [12, ['Max']],
  ])('Max of integers in opset %d', (opset, expected) => {
    const { b, n, ops } = graphOf(opset)
    b.max([n, 0])
    expect(ops()).toEqual(expected)
  })

  it.each([
    [14, ['Shape', 'Slice']],
    [15, ['Shape']],
  ])('a part of Shape in opset %d', (opset, expected) => {
    const { b, x, ops } = graphOf(opset)
    expect(b.shape(x, { start: 1, name: 'width' }).name).toBe('vitpass/width')
    expect(ops()).toEqual(expected)
  })

  it('give the asked name to the last node only', () => {
    const { b, x, graph } = graphOf(11, { scope: 'mask' })
    b.lessOrEqual(x, 1, { name: 'keep' })
    expect(graph.nodes.map((node) => node.name)).toEqual(['mask/Greater', 'mask/keep'])
  })
})

describe('names and places', () => {
  it('are scoped, fresh, and the same for a node and its first output', () => {
    const { b, x, graph } = graphOf(17, { scope: 'vitpass/posenc' })
    const [first, second] = [b.abs(x), b.abs(x)]
    expect([first.name, second.name]).toEqual(['vitpass/posenc/Abs', 'vitpass/posenc/Abs_1'])
    expect(graph.nodes.map((node) => node.name)).toEqual([first.name, second.name])
    const parts = b.split(x, { outputs: 3, axis: 1, name: 'part' })
    expect(parts.map((part) => part.name)).toEqual([0, 1, 2].map((i) => `vitpass/posenc/part${i === 0 ? '' : `_${i}`}`))
  })

  it('put nodes at the end, or before a given node in the order of the calls', () => {
    const { b, x, graph, ops } = graphOf(17)
    const last = b.exp(x).producer
    if (last === null) throw new Error('no node was made')
    const early = b.with({ before: last, scope: 'early' })
    early.mul(early.abs(x), 2)
    b.sqrt(x)
    expect(ops()).toEqual(['Abs', 'Mul', 'Exp', 'Sqrt'])
    expect(graph.nodes[1]?.name).toBe('early/Mul')
  })
})

describe('constants', () => {
  it('have the rank that is asked for', () => {
    const { b } = graphOf(17)
    expect([b.int64(3), b.int64(3, 1), b.int64([1, 2])].map((value) => value.tensor?.dims)).toEqual([[], [1], [2]])
    expect(b.float([0.5, 1], 'float16').tensor).toMatchObject({ dtype: 'float16', dims: [2] })
    expect(b.bool(true).tensor).toMatchObject({ dtype: 'bool', dims: [] })
  })

  it('are stored once, also across builders', () => {
    const { b, graph, x } = graphOf(17)
    const one = b.int64(1)
    expect(b.int64(1)).toBe(one)
    expect(b.with({ scope: 'other' }).int64(1)).toBe(one)
    expect(new Builder(graph, 17).int64(1)).toBe(one)
    expect([b.int64([1]), b.float(1)]).not.toContain(one)
    b.reshape(x, [1])
    expect(graph.initializers.length).toBe(3)
  })

  it('are made anew where the first one was removed or became an input', () => {
    const { b, graph } = graphOf(17)
    const gone = b.int64(1)
    graph.removeInitializer(gone)
    const again = b.int64(1)
    expect(again).not.toBe(gone)
    graph.addInput(again)
    expect(b.int64(1)).not.toBe(again)
    expect(new Builder(graph, 17).int64(1)).not.toBe(again)
  })

  it('of numbers beside a value have its type', () => {
    const { b, x, n } = graphOf(17)
    const second = (made: Value) => made.producer?.input(1)?.tensor
    expect(second(b.add(x, 1))?.dtype).toBe('float')
    expect(second(b.add(n, 1))?.dtype).toBe('int64')
    const halves = b.cast(x, { to: 'float16' })
    const scale = second(b.mul(halves, 0.1))
    expect(scale?.dtype).toBe('float16')
    expect(scale === undefined || scale === null ? [] : [...readFloats(scale)]).toEqual([0.0999755859375])
  })
})

describe('types', () => {
  it('flow through nodes that the builder did not make', () => {
    const { b, graph, x } = graphOf(17)
    const [sum] = graph.emit('Add', [x, x]) as [Value]
    const [shape] = graph.emit('Shape', [sum]) as [Value]
    const [cast] = graph.emit('Cast', [sum], { attributes: { to: attr.int(10) } }) as [Value]
    const [weighed] = graph.emit('MatMul', [cast, new Value('unknown')]) as [Value]
    expect([sum, shape, cast, weighed].map((value) => b.dtypeOf(value))).toEqual([
      'float',
      'int64',
      'float16',
      'float16',
    ])
    const [foreign] = graph.emit('BiasGelu', [x], { domain: 'com.microsoft' }) as [Value]
    expect(b.dtypeOf(foreign)).toBeUndefined()
  })

  it('are asked of the caller last', () => {
    const { b, graph, x } = graphOf(11, { dtypeOf: () => 'float16' })
    const [foreign] = graph.emit('BiasGelu', [x], { domain: 'com.microsoft' }) as [Value]
    expect(b.dtypeOf(x)).toBe('float')
    expect(b.like(1, foreign).tensor?.dtype).toBe('float16')
  })

  it('that nothing tells are taken over at run time, or refused below opset 15', () => {
    const unknown = new Value('unknown')
    const { b, ops } = graphOf(15)
    b.mul(unknown, 2)
    expect(ops()).toEqual(['CastLike', 'Mul'])
    expect(refusal(() => graphOf(14).b.mul(unknown, 2)).remedy).toBe("raise the model's opset to 15 or later")
  })

  it('that are there already need no Cast', () => {
    const { b, x, ops } = graphOf(17)
    expect(b.cast(x, { to: 'float' })).toBe(x)
    expect(b.castLike(x, b.float(1))).toBe(x)
    expect(b.cast(x, { to: 'float', name: 'kept' }).name).toBe('vitpass/kept')
    expect(ops()).toEqual(['Cast'])
  })
})
