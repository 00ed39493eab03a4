import { describe, expect, it } from 'vitest'
import { attr } from '../../src/ir/attribute.ts'
import { Node } from '../../src/ir/node.ts'
import { Value } from '../../src/ir/value.ts'
import { constantInts } from '../../src/ops/constants.ts'
import { axesOf, floatOf, inputOf, intOf, intsOf, softmaxAxis, stringOf } from '../../src/ops/read.ts'
import { float, newGraph } from './run-graph.ts'

const X = float([2, 3, 4], [])

function made(opset: number) {
  const { b, graph, values } = newGraph(opset, [X])
  const [x] = values as [Value]
  const node = (value: Value): Node => value.producer as Node
  return { b, graph, x, node }
}

const plain = (opType: string, attributes: Record<string, ReturnType<typeof attr.int>> = {}): Node =>
  new Node(opType, [new Value('x')], [new Value('y')], { attributes: Object.entries(attributes) })

describe('reading a node', () => {
  it.each([11, 13, 17, 18, 23])('gives what was built, in opset %d', (opset) => {
    const { b, x, node } = made(opset)
    expect(axesOf(node(b.unsqueeze(x, { axes: [0, -1] })), opset)).toEqual([0, -1])
    expect(axesOf(node(b.reduceMean(x, { axes: [1] })), opset)).toEqual([1])
    expect(axesOf(node(b.reduceMax(x)), opset)).toBe('all')
    expect(intsOf(node(b.split(x, { split: [1, 3], axis: 2 })[0] as Value), opset, 'split')).toEqual({
      kind: 'known',
      values: [1, 3],
    })
    expect(intOf(node(b.topK(x, { k: 2 })[0]), opset, 'K')).toBe(2)
    expect(intOf(node(b.gather(x, 1)), opset, 'axis')).toBe(0)
    expect(intsOf(node(b.slice(x, { starts: [1], ends: [2] })), opset, 'axes')).toEqual({ kind: 'absent' })
  })

  it('knows former names', () => {
    expect(intOf(plain('TopK', { k: attr.int(3) }), 9, 'K')).toBe(3)
  })

  it('tells computed parameters from absent ones', () => {
    const { b, x, node } = made(18)
    const axes = b.cast(b.shape(x), { to: 'int64', name: 'axes' })
    const reduced = node(b.reduceSum(x, { axes }))
    expect(intsOf(reduced, 18, 'axes')).toEqual({ kind: 'computed', value: axes })
    expect(axesOf(reduced, 18)).toBeNull()
    expect(axesOf(reduced, 18, (value) => (value === axes ? [2] : null))).toEqual([2])
    expect(intOf(reduced, 18, 'axes')).toBeUndefined()
  })

  it('takes empty axes for all axes, unless they mean none', () => {
    expect(axesOf(plain('ReduceSum'), 18)).toBe('all')
    expect(axesOf(plain('ReduceSum', { noop_with_empty_axes: attr.int(1) }), 18)).toEqual([])
  })

  it('gives defaults of the opset', () => {
    expect(intOf(plain('Softmax'), 12, 'axis')).toBe(1)
    expect(intOf(plain('Softmax'), 13, 'axis')).toBe(-1)
    expect(floatOf(plain('LayerNormalization'), 17, 'epsilon')).toBe(1e-5)
    expect(floatOf(plain('LayerNormalization', { epsilon: attr.float(0.5) }), 17, 'epsilon')).toBe(0.5)
    expect(stringOf(plain('Resize'), 13, 'mode')).toBe('nearest')
    expect(stringOf(plain('Resize', { mode: attr.string('cubic') }), 13, 'mode')).toBe('cubic')
    expect(stringOf(plain('Add'), 13, 'mode')).toBeUndefined()
  })

  it('finds inputs by name wherever the opset has them', () => {
    const scales = new Value('scales')
    const resize = new Node('Resize', [new Value('x'), null, scales], [new Value('y')])
    expect(inputOf(resize, 11, 'scales')).toBe(scales)
    expect(inputOf(resize, 11, 'sizes')).toBeNull()
    expect(inputOf(new Node('Resize', [new Value('x'), scales], [new Value('y')]), 10, 'scales')).toBe(scales)
  })

  it('knows over which axis a Softmax runs', () => {
    expect(softmaxAxis(plain('Softmax'), 13, 4)).toBe(3)
    expect(softmaxAxis(plain('Softmax', { axis: attr.int(1) }), 13, 4)).toBe(1)
    expect(softmaxAxis(plain('Softmax', { axis: attr.int(3) }), 11, 4)).toBe(3)
    expect(softmaxAxis(plain('Softmax', { axis: attr.int(-1) }), 11, 4)).toBe(3)
    expect(softmaxAxis(plain('Softmax'), 11, 2)).toBe(1)
    expect(softmaxAxis(plain('Softmax'), 11, 3)).toBeNull()
  })
})

describe('constantInts', () => {
  it('reads initializers and Constant nodes, and nothing that can vary', () => {
    const { b, graph, x } = made(13)
    expect(constantInts(b.int64([3, 4]))).toEqual([3, 4])
    expect(constantInts(x)).toBeNull()
    expect(constantInts(b.float(1))).toBeNull()
    const tensor = { ...(b.int64(7).tensor as NonNullable<Value['tensor']>), name: '' }
    const [constant] = graph.emit('Constant', [], { attributes: { value: attr.tensor(tensor) } }) as [Value]
    expect(constantInts(constant)).toEqual([7])
    const overridable = b.int64([5])
    graph.addInput(overridable)
    b.reshape(x, overridable)
    expect(constantInts(overridable)).toBeNull()
  })
})
