import type { Attribute } from './attribute.ts'
import type { Graph } from './graph.ts'
import type { ByteSource } from './tensor.ts'

/** A function that the model defines for itself (`FunctionProto`). */
export interface ModelFunction {
  readonly domain: string
  readonly name: string
  readonly overload: string
  readonly opsets: Map<string, number>
  /** Names of attributes without a default. */
  readonly attributes: readonly string[]
  readonly attributeDefaults: ReadonlyMap<string, Attribute>
  /** Body; its inputs and outputs are the function's formal ones. */
  readonly graph: Graph
  readonly passthrough: unknown
}

/** An ONNX model. */
export class Model {
  irVersion: number
  producerName = ''
  producerVersion = ''
  /** Domain ('' is ai.onnx) to version. */
  readonly opsets: Map<string, number>
  graph: Graph
  readonly functions: ModelFunction[] = []
  /** `metadata_props`, in file order. Change it through `setMetadata`. */
  readonly metadata = new Map<string, string>()
  /** The bytes that it was read from: what is written back when nothing has changed. */
  source: ByteSource | null = null
  /** What the reader found and the IR does not model; the writer puts it back. */
  passthrough: unknown = null

  constructor(irVersion: number, opsets: ReadonlyMap<string, number>, graph: Graph) {
    this.irVersion = irVersion
    this.opsets = new Map(opsets)
    this.graph = graph
  }

  /** The ai.onnx opset. */
  get opset(): number {
    return this.opsets.get('') ?? 0
  }

  /** Becomes what another model is: the way back to a copy made before changes. */
  restore(from: Model): void {
    this.irVersion = from.irVersion
    this.graph = from.graph
    this.functions.splice(0, this.functions.length, ...from.functions)
    replaceAll(this.opsets, from.opsets)
    replaceAll(this.metadata, from.metadata)
  }

  setMetadata(key: string, value: string): void {
    if (this.metadata.get(key) === value) return
    this.metadata.set(key, value)
    this.graph.version += 1
  }

  setOpset(domain: string, version: number): void {
    if (this.opsets.get(domain) === version) return
    this.opsets.set(domain, version)
    this.graph.touch()
  }
}

function replaceAll<K, V>(map: Map<K, V>, entries: ReadonlyMap<K, V>): void {
  map.clear()
  for (const [key, value] of entries) map.set(key, value)
}
