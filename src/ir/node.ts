import { type Attribute, decodeText } from './attribute.ts'
import type { Graph } from './graph.ts'
import type { Tensor } from './tensor.ts'
import type { Value } from './value.ts'

/** An operator call. Missing optional inputs and outputs are null. Inputs are changed through `setInput`, which keeps the uses. */
export class Node {
  readonly opType: string
  /** '' is ai.onnx. */
  readonly domain: string
  readonly overload: string
  name: string
  readonly attributes: Map<string, Attribute>
  /** The graph that it stands in; null once it is removed. */
  graph: Graph | null = null
  /** What the reader found and the IR does not model; the writer puts it back. */
  passthrough: unknown = null

  private readonly inputList: (Value | null)[] = []
  private readonly outputList: (Value | null)[] = []

  constructor(
    opType: string,
    inputs: readonly (Value | null)[],
    outputs: readonly (Value | null)[],
    options: {
      readonly domain?: string
      readonly overload?: string
      readonly name?: string
      readonly attributes?: Iterable<readonly [string, Attribute]>
    } = {},
  ) {
    this.opType = opType
    this.domain = options.domain === 'ai.onnx' ? '' : (options.domain ?? '')
    this.overload = options.overload ?? ''
    this.name = options.name ?? ''
    this.attributes = new Map(options.attributes ?? [])
    for (const [index, value] of inputs.entries()) this.setInput(index, value)
    for (const value of outputs) {
      this.outputList.push(value)
      if (value !== null) value.producer = this
    }
  }

  get inputs(): readonly (Value | null)[] {
    return this.inputList
  }

  get outputs(): readonly (Value | null)[] {
    return this.outputList
  }

  /** How messages call it: its own name, else its first output's. */
  get label(): string {
    return this.name !== '' ? this.name : (this.outputList.find((v) => v !== null)?.name ?? this.opType)
  }

  /** The key of operator tables: `Add`, `com.microsoft:Gelu`. */
  get operator(): string {
    return this.domain === '' ? this.opType : `${this.domain}:${this.opType}`
  }

  /** True for `is('Add')`, `is('Conv', 'ConvTranspose')` in ai.onnx. */
  is(...opTypes: string[]): boolean {
    return this.domain === '' && opTypes.includes(this.opType)
  }

  input(index: number): Value | null {
    return this.inputList[index] ?? null
  }

  output(index: number): Value | null {
    return this.outputList[index] ?? null
  }

  /** Points an input slot at another value, growing the list with nulls where needed, and keeps both values' consumers. */
  setInput(index: number, value: Value | null): void {
    const old = this.inputList[index] ?? null
    if (old !== null) dropOne(old.consumers, this)
    while (this.inputList.length < index) this.inputList.push(null)
    this.inputList[index] = value
    if (value !== null) value.consumers.push(this)
    this.graph?.touch()
  }

  /** Cuts trailing inputs, for optional ones that are no longer given. */
  truncateInputs(length: number): void {
    for (const value of this.inputList.splice(length)) if (value !== null) dropOne(value.consumers, this)
    this.graph?.touch()
  }

  setAttribute(name: string, value: Attribute): void {
    this.attributes.set(name, value)
    this.graph?.touch()
  }

  deleteAttribute(name: string): void {
    this.attributes.delete(name)
    this.graph?.touch()
  }

  int(name: string): number | undefined
  int(name: string, fallback: number): number
  int(name: string, fallback?: number): number | undefined {
    const found = this.attributes.get(name)
    return found?.type === 'int' ? Number(found.value) : fallback
  }

  float(name: string): number | undefined
  float(name: string, fallback: number): number
  float(name: string, fallback?: number): number | undefined {
    const found = this.attributes.get(name)
    return found?.type === 'float' ? found.value : fallback
  }

  ints(name: string): number[] | undefined {
    const found = this.attributes.get(name)
    return found?.type === 'ints' ? found.value.map(Number) : undefined
  }

  string(name: string): string | undefined
  string(name: string, fallback: string): string
  string(name: string, fallback?: string): string | undefined {
    const found = this.attributes.get(name)
    return found?.type === 'string' ? decodeText(found.value) : fallback
  }

  tensor(name: string): Tensor | undefined {
    const found = this.attributes.get(name)
    return found?.type === 'tensor' ? found.value : undefined
  }

  /** The graphs in its attributes (bodies of If, Loop, Scan, SequenceMap). */
  get subgraphs(): Graph[] {
    const found: Graph[] = []
    for (const attribute of this.attributes.values()) {
      if (attribute.type === 'graph') found.push(attribute.value)
      else if (attribute.type === 'graphs') found.push(...attribute.value)
    }
    return found
  }
}

function dropOne(list: Node[], node: Node): void {
  const at = list.indexOf(node)
  if (at >= 0) list.splice(at, 1)
}
