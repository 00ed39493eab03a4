import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import onnxProto from 'onnx-proto'

const { onnx } = onnxProto
const { DataType } = onnx.TensorProto
const { AttributeType } = onnx.AttributeProto

function tensorType(elemType: number, dims: readonly (number | string)[]) {
  return {
    tensorType: {
      elemType,
      shape: { dim: dims.map((dim) => (typeof dim === 'number' ? { dimValue: dim } : { dimParam: dim })) },
    },
  }
}

function floats(name: string, dims: number[]) {
  const count = dims.reduce((product, dim) => product * dim, 1)
  return { name, dims, dataType: DataType.FLOAT, rawData: new Uint8Array(count * 4) }
}

function encode(graph: object): Uint8Array {
  const model = { irVersion: 8, opsetImport: [{ domain: '', version: 17 }], graph: { name: 'main', ...graph } }
  return onnx.ModelProto.encode(onnx.ModelProto.create(model)).finish()
}

/** An image classifier without tokens: Conv, Relu, GlobalAveragePool, Flatten, MatMul. */
export function convolutionalModel(): Uint8Array {
  return encode({
    input: [{ name: 'pixels', type: tensorType(DataType.FLOAT, ['batch', 3, 32, 32]) }],
    output: [{ name: 'logits', type: tensorType(DataType.FLOAT, ['batch', 4]) }],
    initializer: [floats('kernel', [8, 3, 3, 3]), floats('weight', [8, 4])],
    node: [
      {
        opType: 'Conv',
        name: 'stem',
        input: ['pixels', 'kernel'],
        output: ['features'],
        attribute: [{ name: 'pads', type: AttributeType.INTS, ints: [1, 1, 1, 1] }],
      },
      { opType: 'Relu', input: ['features'], output: ['active'] },
      { opType: 'GlobalAveragePool', input: ['active'], output: ['pooled'] },
      { opType: 'Flatten', input: ['pooled'], output: ['flat'] },
      { opType: 'MatMul', input: ['flat', 'weight'], output: ['logits'] },
    ],
  })
}

/** A model over token ids, with no image among its inputs. */
export function textModel(): Uint8Array {
  return encode({
    input: [{ name: 'input_ids', type: tensorType(DataType.INT64, ['batch', 'length']) }],
    output: [{ name: 'states', type: tensorType(DataType.FLOAT, ['batch', 'length', 4]) }],
    initializer: [floats('words', [10, 4]), floats('weight', [4, 4])],
    node: [
      { opType: 'Gather', name: 'embed', input: ['words', 'input_ids'], output: ['embedded'] },
      { opType: 'MatMul', input: ['embedded', 'weight'], output: ['states'] },
    ],
  })
}

/**
 * Writes a copy of a model whose file is larger by `bytes`: one more constant of zeros, which is an output, so that no pass drops it.
 * The zeros are a hole in the file, so that making it takes no time.
 */
export function writeLargeModel(path: string, source: string, bytes: number): void {
  const { graph, ...rest } = onnx.ModelProto.decode(readFileSync(source))
  if (!graph?.node || !graph.output) throw new Error(`${source} holds no graph`)
  const count = bytes / 4
  graph.node.push(onnx.NodeProto.create({ opType: 'Identity', input: ['ballast'], output: ['carried'] }))
  graph.output.push(onnx.ValueInfoProto.create({ name: 'carried', type: tensorType(DataType.FLOAT, [count]) }))
  const body = onnx.GraphProto.encode(graph).finish()
  const head = onnx.TensorProto.encode({ dims: [count], dataType: DataType.FLOAT, name: 'ballast' }).finish()
  const values = Buffer.concat([Buffer.from([(9 << 3) | 2]), varint(bytes)])
  const tensor = Buffer.concat([Buffer.from([(5 << 3) | 2]), varint(head.length + values.length + bytes), head, values])
  const parts = [
    onnx.ModelProto.encode(onnx.ModelProto.create(rest)).finish(),
    Buffer.concat([Buffer.from([(7 << 3) | 2]), varint(body.length + tensor.length + bytes)]),
    body,
    tensor,
  ]
  writeFileSync(path, Buffer.concat(parts))
  const file = openSync(path, 'r+')
  ftruncateSync(file, parts.reduce((sum, part) => sum + part.length, 0) + bytes)
  closeSync(file)
}

function varint(value: number): Buffer {
  const out: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest])
    out.push((rest % 128) | 128)
  }
}
