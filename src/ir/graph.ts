import { VitpassError } from '../errors.ts'
import type { Attribute } from './attribute.ts'
import { Node } from './node.ts'
import type { Tensor } from './tensor.ts'
import { Value } from './value.ts'

/**
 * A list of nodes over SSA values, in an order in which every value is made before it is read.
 * All changes go through its methods, which keep producers, consumers, names and the change counter right.
 */
export class Graph {
  name: string
  /** The graph whose values this one may read: set for the bodies of control-flow nodes. */
  readonly parent: Graph | null
  readonly nodes: Node[] = []
  readonly inputs: Value[] = []
  readonly outputs: Value[] = []
  /** Values with a tensor, in file order. One may be a graph input too (a default that the caller can override). */
  readonly initializers: Value[] = []
  /** Values whose constant is a sparse tensor: carried, not understood. */
  readonly sparseInitializers: Value[] = []
  /** What the reader found and the IR does not model; the writer puts it back. */
  passthrough: unknown = null
  /** Counts changes; 0 means as read. Meaningful on the root graph. */
  version = 0
  /** Counts changes to nodes and values, and none to metadata: what was inferred of the graph holds while it stays. */
  edits = 0

  private readonly names: Set<string>

  constructor(name: string, parent: Graph | null = null) {
    this.name = name
    this.parent = parent
    this.names = parent === null ? new Set() : parent.names
  }

  get root(): Graph {
    return this.parent === null ? this : this.parent.root
  }

  /** Notes a change. */
  touch(): void {
    this.root.version += 1
    this.root.edits += 1
  }

  /** Takes a name that the file uses, so that `freshName` never gives it out. */
  claimName(name: string): void {
    this.names.add(name)
  }

  /** A name that no value and no node in this model has: `base`, else `base_1`, `base_2`, ... */
  freshName(base: string): string {
    let name = base
    for (let i = 1; this.names.has(name); i += 1) name = `${base}_${i}`
    this.names.add(name)
    return name
  }

  /** Gives a value another name, `base` or the next one free. */
  rename(value: Value, base: string): void {
    if (value.name === base) return
    value.name = this.freshName(base)
    this.touch()
  }

  newValue(base: string): Value {
    return new Value(this.freshName(base))
  }

  addInput(value: Value): void {
    this.claimName(value.name)
    this.inputs.push(value)
    this.touch()
  }

  /** Adds a constant and returns its value; the tensor's own name is replaced by the value's. */
  addInitializer(base: string, tensor: Omit<Tensor, 'name'>): Value {
    const value = this.newValue(base)
    this.attachInitializer(value, { ...tensor, name: value.name })
    return value
  }

  /** Makes an existing value an initializer. */
  attachInitializer(value: Value, tensor: Tensor): void {
    this.claimName(value.name)
    if (value.tensor === null) this.initializers.push(value)
    value.tensor = tensor
    this.touch()
  }

  removeInitializer(value: Value): void {
    const at = this.initializers.indexOf(value)
    if (at >= 0) this.initializers.splice(at, 1)
    value.tensor = null
    this.touch()
  }

  /** Puts a node at the end, or before the node given. */
  addNode(node: Node, before: Node | null = null): Node {
    const at = before === null ? this.nodes.length : this.nodes.indexOf(before)
    if (at < 0) throw new VitpassError('INTERNAL', 'cannot insert before a node of another graph', { node: node.label })
    node.graph = this
    this.claimName(node.name)
    for (const value of node.outputs) if (value !== null) this.claimName(value.name)
    this.nodes.splice(at, 0, node)
    this.touch()
    return node
  }

  /** Makes a node with fresh outputs (named after `base`) and adds it; returns the outputs. */
  emit(
    opType: string,
    inputs: readonly (Value | null)[],
    options: {
      readonly attributes?: Readonly<Record<string, Attribute>>
      readonly domain?: string
      readonly outputs?: number
      readonly base?: string
      readonly before?: Node | null
    } = {},
  ): Value[] {
    const base = options.base ?? `vitpass/${opType}`
    const outputs = Array.from({ length: options.outputs ?? 1 }, () => this.newValue(base))
    const node = new Node(opType, inputs, outputs, {
      domain: options.domain ?? '',
      name: outputs[0]?.name ?? base,
      attributes: Object.entries(options.attributes ?? {}),
    })
    this.addNode(node, options.before ?? null)
    return outputs
  }

  /** Removes nodes whose outputs nothing reads any more. @throws VitpassError if something does. */
  removeNodes(dead: Iterable<Node>): void {
    const set = new Set(dead)
    if (set.size === 0) return
    for (const node of set) {
      for (const value of node.outputs) {
        if (value === null) continue
        if (value.consumers.some((user) => !set.has(user)) || this.outputs.includes(value)) {
          throw new VitpassError('INTERNAL', `node removed while its output ${value.name} is still read`, {
            node: node.label,
          })
        }
      }
    }
    for (const node of set) {
      for (const subgraph of node.subgraphs) subgraph.detach()
      node.truncateInputs(0)
      node.graph = null
    }
    const kept = this.nodes.filter((node) => !set.has(node))
    this.nodes.length = 0
    for (const node of kept) this.nodes.push(node)
    this.touch()
  }

  /** Lets go of every value that this subgraph's nodes read, outer ones included. */
  private detach(): void {
    for (const node of this.nodes) {
      for (const subgraph of node.subgraphs) subgraph.detach()
      node.truncateInputs(0)
    }
  }

  /** Points every reader of `old` (subgraphs included) at `next`, graph outputs too; an output keeps its name. */
  replaceUses(old: Value, next: Value, except: ReadonlySet<Node> = new Set()): void {
    if (old === next) return
    for (const user of old.users) {
      if (except.has(user)) continue
      for (const [index, value] of user.inputs.entries()) if (value === old) user.setInput(index, next)
    }
    if (this.outputs.includes(old)) this.replaceOutput(old, next)
    this.touch()
  }

  /** Makes `next` the graph output in place of `old`. It takes over the output's name and declared type. */
  replaceOutput(old: Value, next: Value): void {
    const at = this.outputs.indexOf(old)
    if (at < 0) return
    const movable = !this.inputs.includes(next) && !this.outputs.includes(next) && next.tensor === null
    let output = next
    if (!movable) {
      // An input, a constant or another output keeps its own name: an Identity carries the output's.
      const carrier = this.newValue(old.name)
      this.addNode(new Node('Identity', [next], [carrier], { name: carrier.name }))
      output = carrier
    }
    const name = old.name
    old.name = this.freshName(name)
    output.name = name
    output.type = old.type
    output.passthrough = old.passthrough
    for (const [index, value] of this.outputs.entries()) if (value === old) this.outputs[index] = output
    this.touch()
  }

  addOutput(value: Value): void {
    this.outputs.push(value)
    this.touch()
  }

  /**
   * Puts the nodes in an order in which every value is made before it is read, keeping the present order where it can.
   * @throws VitpassError when a value depends on itself
   */
  sort(): void {
    if (this.isSorted()) return
    const sorted: Node[] = []
    const state = new Map<Node, 'open' | 'done'>()
    for (const root of this.nodes) {
      const stack = [root]
      for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
        if (state.get(node) === 'done') {
          stack.pop()
          continue
        }
        const waiting = this.producersOf(node).filter((maker) => state.get(maker) !== 'done')
        if (waiting.length === 0) {
          state.set(node, 'done')
          sorted.push(node)
          stack.pop()
        } else if (state.get(node) === 'open') {
          throw new VitpassError('PASS_BROKE_GRAPH', 'a value depends on itself', { node: node.label })
        } else {
          state.set(node, 'open')
          stack.push(...waiting.reverse())
        }
      }
    }
    this.nodes.length = 0
    for (const node of sorted) this.nodes.push(node)
    this.touch()
  }

  private isSorted(): boolean {
    const done = new Set<Node>()
    for (const node of this.nodes) {
      for (const maker of this.producersOf(node)) if (!done.has(maker)) return false
      done.add(node)
    }
    return true
  }

  /** Nodes of this graph whose outputs a node reads, itself or in a subgraph. */
  private producersOf(node: Node): Node[] {
    const makers: Node[] = []
    const collect = (reader: Node): void => {
      for (const value of reader.inputs) {
        const maker = value?.producer
        if (maker?.graph === this && maker !== node) makers.push(maker)
      }
    }
    collect(node)
    for (const subgraph of node.subgraphs) for (const inner of subgraph.walk()) collect(inner)
    return makers
  }

  /** Every node here and in subgraphs, outer nodes before their bodies. */
  *walk(): Generator<Node> {
    for (const node of this.nodes) {
      yield node
      for (const subgraph of node.subgraphs) yield* subgraph.walk()
    }
  }
}
