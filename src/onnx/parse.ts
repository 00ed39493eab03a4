import { VitpassError } from '../errors.ts'
import { Model, type ModelFunction } from '../ir/model.ts'
import type { ByteSource } from '../ir/tensor.ts'
import { decodeModel } from './codec.ts'
import { checkCalls } from './function-calls.ts'
import type { FunctionProto, OperatorSetIdProto } from './generated/messages.ts'
import { ModelOrigin } from './origin.ts'
import { parseAttribute } from './parse-attribute.ts'
import { parseFunctionBody, parseGraph } from './parse-graph.ts'
import { type OpenExternal, refuseExternal } from './parse-tensor.ts'
import { printable } from './printable.ts'
import { readSkeleton } from './skeleton.ts'
import { refuseOtherFormats } from './sniff.ts'
import { MemorySource } from './wire.ts'

/**
 * Reads a model from bytes. They are kept and must not change while the model lives: large tensors are views of them.
 * External data is not at hand: such tensors keep their references, and reading their elements is an error.
 * @throws VitpassError NOT_ONNX, MODEL_TRUNCATED, MODEL_INVALID, EXTERNAL_DATA
 */
export function parseModel(bytes: Uint8Array): Model {
  return parseModelFrom(new MemorySource(bytes), null)
}

/** The same from any source; tensors over 1 KB stay in it. `open` gives external data files. */
export function parseModelFrom(source: ByteSource, open: OpenExternal): Model {
  refuseOtherFormats(source)
  try {
    return parse(source, open)
  } catch (error) {
    if (error instanceof RangeError) {
      throw new VitpassError('MODEL_INVALID', 'its structure is larger or deeper than can be read', {
        where: source.name,
        remedy: 'export the model again',
        cause: error,
      })
    }
    if (!(error instanceof VitpassError) || error.where !== undefined) throw error
    const { node, remedy } = error
    throw new VitpassError(error.code, printable(error.message), {
      where: source.name,
      remedy: remedy ?? 'export the model again',
      cause: error,
      ...(node === undefined ? {} : { node: printable(node) }),
    })
  }
}

function parse(source: ByteSource, open: OpenExternal): Model {
  const proto = decodeModel(readSkeleton(source), source.name)
  if (proto.graph === undefined) {
    throw new VitpassError('NOT_ONNX', 'this is no ONNX model: it has no graph', {
      remedy: 'give the .onnx file of a model',
    })
  }
  refuseExternal(proto.trainingInfo ?? [], 'the training part')
  const graph = parseGraph(proto.graph, open)
  const model = new Model(Number(proto.irVersion ?? 0n), parseOpsets(proto.opsetImport), graph)
  model.producerName = proto.producerName ?? ''
  model.producerVersion = proto.producerVersion ?? ''
  for (const { key = '', value = '' } of proto.metadataProps ?? []) model.metadata.set(key, value)
  for (const each of proto.functions ?? []) model.functions.push(parseFunction(each, open))
  checkCalls(model)
  model.source = source
  model.passthrough = new ModelOrigin(proto, [...model.functions])
  proto.graph = undefined
  proto.functions = undefined
  for (const each of [graph, ...model.functions.map((f) => f.graph)]) each.version = 0
  return model
}

/** ai.onnx has two names: it is '' here. */
function parseOpsets(entries: readonly OperatorSetIdProto[] | undefined): Map<string, number> {
  return new Map((entries ?? []).map((entry) => [opsetDomain(entry), Number(entry.version ?? 0n)]))
}

export function opsetDomain(entry: OperatorSetIdProto): string {
  return entry.domain === 'ai.onnx' ? '' : (entry.domain ?? '')
}

function parseFunction(proto: FunctionProto, open: OpenExternal): ModelFunction {
  const context = {
    open,
    graph: () => {
      throw new VitpassError('MODEL_UNSUPPORTED', `function ${proto.name ?? ''} has a graph as an attribute's default`)
    },
  }
  const defaults = (proto.attributeProto ?? []).map((each) => [each.name ?? '', parseAttribute(each, context)] as const)
  const graph = parseFunctionBody(proto, open)
  proto.attributeProto = undefined
  return {
    domain: proto.domain ?? '',
    name: proto.name ?? '',
    overload: proto.overload ?? '',
    opsets: parseOpsets(proto.opsetImport),
    attributes: proto.attribute ?? [],
    attributeDefaults: new Map(defaults),
    graph,
    passthrough: graph.passthrough,
  }
}
