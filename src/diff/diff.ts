import type { Graph } from '../ir/graph.ts'
import type { Model } from '../ir/model.ts'
import type { Tensor } from '../ir/tensor.ts'
import type { Value } from '../ir/value.ts'
import { ContentKeys, type Digest, tensorBytes } from './content.ts'
import type { Change, DiffReport, InitializerChanges, NodeCounts, TensorSummary } from './report.ts'
import { bodyKey, type GraphKeys, keysOf } from './structure.ts'

/**
 * What differs between two models, by structure: nodes and constants that only have other names are the same. The models stay as they are.
 *
 * @param newDigest makes a hash (the core has none of its own); weights go through it in parts of a megabyte
 * @throws VitpassError EXTERNAL_DATA, FILE_UNREADABLE, MODEL_INVALID where weights cannot be read
 */
export function diffModels(before: Model, after: Model, newDigest: () => Digest): DiffReport {
  const keys = new ContentKeys(newDigest)
  const [old, next] = [keysOf(before.graph, keys), keysOf(after.graph, keys)]
  const differences = {
    operators: changes(countOperators(before.graph), countOperators(after.graph)),
    inputs: changes(describeValues(callerInputs(before)), describeValues(callerInputs(after))),
    outputs: changes(describeValues(before.graph.outputs), describeValues(after.graph.outputs)),
    recomputed: findRecomputed(before.graph, after.graph, old, next),
    functions: changes(describeFunctions(before, keys), describeFunctions(after, keys)),
    opsets: changes(nameOpsets(before), nameOpsets(after)),
    metadata: changes(before.metadata, after.metadata),
    header: changes(describeHeader(before), describeHeader(after)),
  }
  const nodes = countNodes(old, next)
  const initializers = compareInitializers(before.graph, after.graph, keys)
  const untouched = nodes.unchanged === nodes.before && nodes.unchanged === nodes.after
  const same =
    untouched && initializers.changes.length === 0 && Object.values(differences).every(({ length }) => length === 0)
  return { same, nodes, ...differences, initializers }
}

/** Entries of two maps that differ, those of the first in their order and then the new ones. */
function changes<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): Change<T>[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .map((name) => ({ name, before: before.get(name) ?? null, after: after.get(name) ?? null }))
    .filter((change) => change.before !== change.after)
}

function countOperators(graph: Graph): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { domain, opType } of graph.walk()) {
    const name = domain === '' ? opType : `${domain}.${opType}`
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return counts
}

function callerInputs({ graph }: Model): Value[] {
  return graph.inputs.filter(({ tensor }) => tensor === null)
}

function describeValues(values: readonly Value[]): Map<string, string> {
  return new Map(
    values.map(({ name, dtype, declaredDims }) => [
      name,
      `${dtype ?? 'unknown'} [${declaredDims?.map((dim) => dim ?? '?').join(', ') ?? '?'}]`,
    ]),
  )
}

function findRecomputed(before: Graph, after: Graph, old: GraphKeys, next: GraphKeys): string[] {
  const made = new Map(after.outputs.map((value) => [value.name, next.values.get(value)]))
  return before.outputs
    .filter((value) => made.has(value.name) && made.get(value.name) !== old.values.get(value))
    .map(({ name }) => name)
}

function describeFunctions({ functions }: Model, keys: ContentKeys): Map<string, string> {
  return new Map(
    functions.map(({ domain, name, overload, graph }) => [
      [domain, name, overload].filter((part) => part !== '').join(':'),
      bodyKey(graph, keys),
    ]),
  )
}

function nameOpsets({ opsets }: Model): Map<string, number> {
  return new Map([...opsets].map(([domain, version]) => [domain === '' ? 'ai.onnx' : domain, version]))
}

function describeHeader({ irVersion, producerName, producerVersion }: Model): Map<string, string> {
  return new Map([
    ['IR version', String(irVersion)],
    ['producer', [producerName, producerVersion].filter(Boolean).join(' ')],
  ])
}

function countNodes(old: GraphKeys, next: GraphKeys): NodeCounts {
  const [before, after] = [old.nodes.length, next.nodes.length]
  const whole = matchUp(old.nodes, next.nodes, (node) => node.whole)
  const local = matchUp(whole.before, whole.after, (node) => node.local)
  return {
    before,
    after,
    unchanged: whole.matched,
    rewired: local.matched,
    removed: local.before.length,
    added: local.after.length,
  }
}

/** Pairs items of equal keys, as often as both sides have them, and gives what is left of each. */
function matchUp<T>(
  before: readonly T[],
  after: readonly T[],
  keyOf: (item: T) => string,
): { readonly matched: number; readonly before: T[]; readonly after: T[] } {
  const waiting = new Map<string, T[]>()
  for (const item of before) waiting.set(keyOf(item), [...(waiting.get(keyOf(item)) ?? []), item])
  const paired = new Set<T>()
  const left = after.filter((item) => {
    const partner = waiting.get(keyOf(item))?.shift()
    if (partner !== undefined) paired.add(partner)
    return partner === undefined
  })
  return { matched: paired.size, before: before.filter((item) => !paired.has(item)), after: left }
}

interface Constant {
  readonly name: string
  readonly tensor: Tensor
}

function compareInitializers(before: Graph, after: Graph, keys: ContentKeys): InitializerChanges {
  const [old, next] = [constantsOf(before), constantsOf(after)]
  const left = matchUp(old, next, ({ tensor }) => keys.ofTensor(tensor))
  const summaries = (constants: readonly Constant[]): Map<string, TensorSummary> =>
    new Map(constants.map(({ name, tensor }) => [name, summarise(tensor)]))
  return {
    before: total(old),
    after: total(next),
    unchanged: left.matched,
    // Every summary is an object of its own: what has the same name on both sides is a change.
    changes: changes(summaries(left.before), summaries(left.after)),
  }
}

function constantsOf({ initializers }: Graph): Constant[] {
  return initializers.flatMap(({ name, tensor }) => (tensor === null ? [] : [{ name, tensor }]))
}

function summarise(tensor: Tensor): TensorSummary {
  return { dtype: tensor.dtype, dims: tensor.dims, bytes: tensorBytes(tensor) }
}

function total(constants: readonly Constant[]): { count: number; bytes: number } {
  return { count: constants.length, bytes: constants.reduce((sum, { tensor }) => sum + tensorBytes(tensor), 0) }
}
