import { isInt } from '../ir/dim.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { dependents } from './dependence.ts'
import type { Facts } from './facts.ts'
import { infer } from './infer.ts'
import { countBatch, mixesImages } from './mixing.ts'
import { placementKey } from './shapes/reshape.ts'

type Axes = Parameters<typeof infer>[2]

/** Inferences at most that look for one place in the graph at which the batch has to stand elsewhere. */
const TRIES = 48

/**
 * Finds where a batch of one image stands. Such an axis has one element, so a Reshape does not say between which of its
 * result's axes it lies, and an optimiser writes its transposition as a Reshape. What reads the result tells: every operator has to
 * work on each image by itself. So where one would not, the Reshapes before it, the nearest first, are read the other ways
 * that they allow, and what carries on furthest is kept.
 *
 * Any reading in which every operator works on each image by itself is right, whatever the exporter meant: with one image all of them are
 * the same computation, and at a larger batch each image has that computation to itself.
 *
 * @param facts inferred at sizes that fit; they are given back where the batch is no single image, or nothing stands in the way
 */
export function placeUnitBatch(facts: Facts, opset: number, axes: Axes): Facts {
  if (facts.placements.size === 0) return facts
  const { graph } = facts
  const live = dependents(graph, ...axes.keys())
  const firstFault = (found: Facts): number =>
    graph.nodes.findIndex((node) => isLive(node, live) && mixes(node, live, found, opset))
  let best = facts
  let fault = firstFault(best)
  while (fault >= 0) {
    const next = repair(best, fault)
    if (next === null) break
    best = next.facts
    fault = next.fault
  }
  return best

  function repair(from: Facts, at: number): { facts: Facts; fault: number } | null {
    const node = graph.nodes[at]
    if (node === undefined) return null
    let tries = 0
    for (const reshape of nearestFirst(node)) {
      if (!from.placements.has(reshape)) continue
      const current = placementKey(from.dims(reshape.output(0)) ?? [])
      for (const layout of from.placements.get(reshape) ?? []) {
        const key = placementKey(layout)
        if (key === current) continue
        tries += 1
        if (tries > TRIES) return null
        // What was settled behind this Reshape was settled for the old reading of it.
        const behind = dependents(graph, reshape.output(0) as Value)
        const kept = [...from.placed].filter(([other]) => !behind.has(other.output(0) as Value))
        const found = infer(graph, opset, axes, new Map([...kept, [reshape, key]]))
        if (found.impossible.length > from.impossible.length) continue
        const next = firstFault(found)
        if (next < 0 || next > at) return { facts: found, fault: next }
      }
    }
    return null
  }
}

/** The nodes before a node, by how many lie between. */
function nearestFirst(node: Node): Set<Node> {
  const found = new Set<Node>([node])
  for (const one of found) {
    for (const value of one.inputs) if (value !== null && value.producer !== null) found.add(value.producer)
  }
  found.delete(node)
  return found
}

function isLive(node: Node, live: ReadonlySet<Value>): boolean {
  return node.outputs.some((value) => value !== null && live.has(value))
}

/** True where a node does not work on each image by itself, or meets a number where it should meet the batch. */
function mixes(node: Node, live: ReadonlySet<Value>, facts: Facts, opset: number): boolean {
  if (mixesImages(node, live, { facts, opset }) !== null) return true
  return facts.disagreementsAt(node).some(({ kind, left, right, slot }) => {
    const symbolic = isInt(left) ? right : left
    if (kind === 'impossible' || countBatch([symbolic]) === 0) return false
    const value = slot === undefined ? null : node.input(slot)
    return kind === 'differs' || value === null || live.has(value)
  })
}
