import { VitpassError } from '../errors.ts'
import type { Graph } from './graph.ts'
import type { Tensor } from './tensor.ts'
import { rawBytes } from './tensor-data.ts'
import type { Value } from './value.ts'

/**
 * Gives constants of subgraphs that are named like an equal constant around them names of their own. Some optimisers write one constant
 * into several graphs under one name, which ONNX forbids.
 *
 * @returns how many values were renamed
 * @throws VitpassError MODEL_UNSUPPORTED where two values that differ share a name: runtimes do not agree on which of them is meant
 */
export function renameShadowing(graph: Graph): number {
  const found = [...shadowing(graph, new Map())]
  for (const { value, hidden } of found) {
    if (isSameConstant(value, hidden)) continue
    throw new VitpassError('MODEL_UNSUPPORTED', `two values are named ${value.name}, one of them in a subgraph`, {
      node: hidden.producer?.label ?? value.producer?.label ?? value.name,
      remedy: 'export the model again, or leave out the optimiser that wrote it: names have to be unique',
    })
  }
  for (const { value } of found) {
    value.name = graph.freshName(value.name)
    graph.touch()
  }
  return found.length
}

/** Values of subgraphs, and those around them whose names they take. */
function* shadowing(graph: Graph, outer: ReadonlyMap<string, Value>): Generator<{ value: Value; hidden: Value }> {
  const own = new Set([
    ...graph.inputs,
    ...graph.initializers,
    ...graph.sparseInitializers,
    ...graph.nodes.flatMap((node) => node.outputs.filter((value) => value !== null)),
  ])
  const names = new Map(outer)
  for (const value of own) {
    const hidden = outer.get(value.name)
    if (hidden !== undefined) yield { value, hidden }
    names.set(value.name, value)
  }
  for (const node of graph.nodes) for (const body of node.subgraphs) yield* shadowing(body, names)
}

/** True for two constants of one type, shape and content. */
export function isSameConstant({ tensor: a }: Value, { tensor: b }: Value): boolean {
  if (a === null || b === null || !isReadable(a) || !isReadable(b)) return false
  if (a.dtype !== b.dtype || a.dims.join() !== b.dims.join()) return false
  const [left, right] = [rawBytes(a), rawBytes(b)]
  return left.length === right.length && left.every((byte, i) => byte === right[i])
}

function isReadable({ storage }: Tensor): boolean {
  return storage.kind !== 'strings' && (storage.kind !== 'external' || storage.source !== null)
}
