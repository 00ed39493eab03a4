import { VitpassError } from '../errors.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'

/**
 * Puts nodes that stand before a node whose output they read behind it; all others keep their places.
 * @throws VitpassError MODEL_INVALID where nodes read each other in a circle
 */
export function sortNodes(graph: Graph): void {
  const done = new Set<Node>()
  const inOrder = graph.nodes.every((node) => {
    const ready = makers(node, graph).every((maker) => done.has(maker))
    done.add(node)
    return ready
  })
  if (inOrder) return
  const sorted = depthFirst(graph)
  graph.nodes.length = 0
  for (const node of sorted) graph.nodes.push(node)
}

function depthFirst(graph: Graph): Node[] {
  const sorted: Node[] = []
  const state = new Map<Node, 'open' | 'done'>()
  for (const root of graph.nodes) {
    const stack = [root]
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      const before =
        state.get(node) === undefined ? makers(node, graph).filter((maker) => state.get(maker) !== 'done') : []
      if (state.get(node) === undefined) state.set(node, 'open')
      for (const maker of before) {
        if (state.get(maker) === 'open') {
          throw new VitpassError('MODEL_INVALID', 'nodes read each other in a circle', { node: node.label })
        }
        stack.push(maker)
      }
      if (before.length > 0) continue
      stack.pop()
      if (state.get(node) === 'open') {
        state.set(node, 'done')
        sorted.push(node)
      }
    }
  }
  return sorted
}

/** Nodes of the graph whose outputs the node reads, itself or in its bodies. */
function makers(node: Node, graph: Graph): Node[] {
  const found: Node[] = []
  const note = (value: Value | null): void => {
    if (value?.producer?.graph === graph) found.push(value.producer)
  }
  for (const value of node.inputs) note(value)
  for (const body of node.subgraphs) {
    for (const value of body.outputs) note(value)
    for (const inner of body.walk()) {
      for (const value of inner.inputs) note(value)
      for (const deeper of inner.subgraphs) for (const value of deeper.outputs) note(value)
    }
  }
  return found
}
