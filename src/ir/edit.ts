import type { Graph } from './graph.ts'
import type { Node } from './node.ts'
import type { Value } from './value.ts'

/** Puts a changed graph in order: nodes behind what they read, and nothing that nobody reads. */
export function tidy(graph: Graph): void {
  graph.sort()
  removeDeadNodes(graph)
  removeUnusedInitializers(graph)
}

/** Removes nodes none of whose outputs are read, and what only they read. Returns how many nodes went. */
export function removeDeadNodes(graph: Graph): number {
  const outputs = new Set(graph.outputs)
  const dead = new Set<Node>()
  for (let at = graph.nodes.length - 1; at >= 0; at -= 1) {
    const node = graph.nodes[at] as Node
    if (node.outputs.every((value) => value === null || isUnread(value, outputs, dead))) dead.add(node)
  }
  graph.removeNodes(dead)
  return dead.size
}

function isUnread(value: Value, outputs: ReadonlySet<Value>, dead: ReadonlySet<Node>): boolean {
  return !outputs.has(value) && value.consumers.every((user) => dead.has(user))
}

/** Removes constants that nothing reads, also from the graph inputs where old files list them. */
export function removeUnusedInitializers(graph: Graph): void {
  const outputs = new Set(graph.outputs)
  for (const value of [...graph.initializers]) {
    if (value.consumers.length > 0 || outputs.has(value)) continue
    const at = graph.inputs.indexOf(value)
    if (at >= 0) graph.inputs.splice(at, 1)
    graph.removeInitializer(value)
  }
}
