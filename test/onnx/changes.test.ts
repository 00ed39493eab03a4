import { describe, expect, it } from 'vitest'
import { Node } from '../../src/ir/node.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import { verify } from '../../src/ir/verify.ts'
import { parseModel } from '../../src/onnx/parse.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { seenByCodec, seenByOnnxProto } from './independent.ts'
import { type Bytes, floatInfo, functionNode, int, message, model, modelOf, node, text } from './wire.ts'

const relu = node('Relu', ['x'], ['y'])
const io = [floatInfo(11, 'x', 'n'), floatInfo(12, 'y', 'n')]

describe('changes', () => {
  const chain = model(
    node('Relu', ['x'], ['h']),
    node('Neg', ['h'], ['y']),
    ...io,
    floatInfo(13, 'h', 'n'),
    message(14, text(1, 'h'), message(2, text(1, 'SCALE_TENSOR'), text(2, 'x'))),
  )

  it('rename a value everywhere', () => {
    const parsed = parseModel(chain)
    const h = parsed.graph.nodes[0]?.output(0)
    if (h) h.name = 'renamed'
    parsed.graph.touch()
    expect(seenByOnnxProto(serializeModel(parsed))).toMatchObject({
      graph: {
        node: [{ output: ['renamed'] }, { input: ['renamed'] }],
        valueInfo: [{ name: 'renamed' }],
        quantizationAnnotation: [{ tensorName: 'renamed' }],
      },
    })
  })

  it('rename a value in device configurations', () => {
    const placed = message(10, text(1, 'c'), message(2, text(1, 'h')), message(2, text(1, 'elsewhere')))
    const parsed = parseModel(model(node('Relu', ['x'], ['h']), node('Neg', ['h'], ['y'], placed), ...io))
    const h = parsed.graph.nodes[0]?.output(0)
    if (h) h.name = 'renamed'
    parsed.graph.touch()
    expect(seenByCodec(serializeModel(parsed))).toMatchObject({
      graph: {
        node: [
          {},
          { deviceConfigurations: [{ shardingSpec: [{ tensorName: 'renamed' }, { tensorName: 'elsewhere' }] }] },
        ],
      },
    })
  })

  it('put another value in the place of an output: its name and declaration stay, and are said once', () => {
    const parsed = parseModel(chain)
    const { graph } = parsed
    const y = graph.outputs[0]
    if (y === undefined) throw new Error('no output')
    const [next] = graph.emit('Abs', [y])
    if (next) graph.replaceOutput(y, next)
    verify(parsed)
    expect(seenByOnnxProto(serializeModel(parsed))).toMatchObject({
      graph: {
        node: [{}, { output: ['y_1'] }, { input: ['y_1'], output: ['y'] }],
        output: [{ name: 'y', type: { tensorType: { shape: { dim: [{ dimParam: 'n' }] } } } }],
        valueInfo: [{ name: 'h' }, { name: 'y_1' }],
      },
    })
  })

  it('give a dim another size and keep what it means', () => {
    const dim = message(1, text(2, 'n'), text(3, 'DATA_BATCH'))
    const input = message(
      11,
      text(1, 'x'),
      message(2, message(1, int(1, 1), message(2, dim)), text(6, 'IMAGE')),
      text(3, 'doc'),
    )
    const parsed = parseModel(model(relu, input, floatInfo(12, 'y', 'n')))
    const [x] = parsed.graph.inputs
    if (x) x.type = { kind: 'tensor', dtype: 'float', dims: [7] }
    parsed.graph.touch()
    const type = { tensorType: { shape: { dim: [{ dimValue: '7', denotation: 'DATA_BATCH' }] } }, denotation: 'IMAGE' }
    expect(seenByOnnxProto(serializeModel(parsed))).toMatchObject({ graph: { input: [{ docString: 'doc', type }] } })
  })

  it('drop what is said of a value that is gone, or whose type is withdrawn', () => {
    const parsed = parseModel(chain)
    const [first, second] = parsed.graph.nodes
    const x = parsed.graph.inputs[0] ?? null
    second?.setInput(0, x)
    if (first) parsed.graph.removeNodes([first])
    const gone = seenByOnnxProto(serializeModel(parsed)) as { graph: object }
    expect(gone.graph).not.toHaveProperty('valueInfo')
    expect(gone.graph).not.toHaveProperty('quantizationAnnotation')

    const stale = parseModel(chain)
    const h = stale.graph.nodes[0]?.output(0)
    if (h) h.type = null
    stale.graph.touch()
    expect((seenByOnnxProto(serializeModel(stale)) as { graph: object }).graph).not.toHaveProperty('valueInfo')
  })

  it('drop both descriptions of a value that the file describes twice, once its type is withdrawn', () => {
    const twice = model(
      node('Relu', ['x'], ['h']),
      node('Neg', ['h'], ['y']),
      ...io,
      floatInfo(13, 'h', 'n'),
      floatInfo(13, 'h', 'm'),
    )
    const valueInfo = (bytes: Bytes): unknown => {
      const seen = seenByOnnxProto(bytes) as { graph: { valueInfo?: unknown } }
      return seen.graph.valueInfo
    }
    const parsed = parseModel(twice)
    expect(serializeModel(parsed)).toEqual(twice)
    expect(valueInfo(twice)).toMatchObject([{ name: 'h' }, { name: 'h' }])
    const h = parsed.graph.nodes[0]?.output(0)
    if (h) h.type = null
    parsed.graph.touch()
    expect(valueInfo(serializeModel(parsed))).toBeUndefined()
  })

  it('write new dims, nodes, constants, opsets and metadata, and read them back', () => {
    const parsed = parseModel(chain)
    const { graph } = parsed
    const [x] = graph.inputs
    if (x === undefined) throw new Error('no input')
    x.type = { kind: 'tensor', dtype: 'float', dims: ['batch', 3, null] }
    const weight = graph.addInitializer('w', floatTensor([2], [1, -0.5]))
    graph.addNode(new Node('Identity', [weight], [graph.newValue('w2')]))
    parsed.setOpset('com.microsoft', 1)
    parsed.setMetadata('vitpass', '[]')
    const again = parseModel(serializeModel(parsed))
    expect(again.graph.inputs[0]?.type).toEqual({ kind: 'tensor', dtype: 'float', dims: ['batch', 3, null] })
    expect(again.graph.initializers[0]?.tensor).toMatchObject({ name: 'w', dtype: 'float', dims: [2] })
    expect([...again.opsets]).toEqual([
      ['', 20],
      ['com.microsoft', 1],
    ])
    expect([...again.metadata]).toEqual([['vitpass', '[]']])
    expect(serializeModel(again)).toEqual(serializeModel(parsed))
  })

  it('of one opset or entry leave the others alone, doubled ones too', () => {
    const entry = (value: string): Bytes => message(14, text(1, 'k'), text(2, value))
    const parsed = parseModel(modelOf([entry('1'), entry('2'), message(14, text(1, 'gone'))], relu, ...io))
    expect(parsed.metadata.get('k')).toBe('2')
    parsed.metadata.delete('gone')
    parsed.setMetadata('new', 'n')
    const seen = (): unknown => seenByOnnxProto(serializeModel(parsed))
    expect(seen()).toMatchObject({ metadataProps: [{ value: '1' }, { value: '2' }, { key: 'new', value: 'n' }] })
    parsed.setMetadata('k', '3')
    expect(seen()).toMatchObject({ metadataProps: [{ value: '3' }, { value: '3' }, { value: 'n' }] })
  })

  it('are seen in functions too', () => {
    const called = message(
      25,
      text(1, 'F'),
      text(4, 'a'),
      text(5, 'b'),
      functionNode('Relu', ['a'], ['b']),
      text(10, 'my'),
    )
    const parsed = parseModel(modelOf([called], node('F', ['x'], ['y'], text(7, 'my')), ...io))
    parsed.functions.pop()
    expect(serializeModel(parsed).length).toBeLessThan(parsed.source?.size ?? 0)
  })

  it('nodes in any order are put in order, and the file stays as it is while nothing else changes', () => {
    const bytes = model(node('Neg', ['h'], ['y']), node('Relu', ['x'], ['h']), ...io)
    const parsed = parseModel(bytes)
    verify(parsed)
    expect(parsed.graph.nodes.map((each) => each.opType)).toEqual(['Relu', 'Neg'])
    expect(serializeModel(parsed)).toEqual(bytes)
  })
})
