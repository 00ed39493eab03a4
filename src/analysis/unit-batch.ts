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
const TRIES = 96

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
  let best: Reading = { facts, fault: firstFault(facts) }
  let tries = 0
  while (best.fault >= 0) {
    tries = 0
    const next = repair(best, best.fault, 1) ?? repair(best, best.fault, 2)
    if (next === null) break
    best = inEveryLayer(best.facts, next)
  }
  return best.facts

  /** The layers of a network are alike: what mends one is tried on all Reshapes that were read as the mended ones, and kept if it helps. */
  function inEveryLayer(before: Facts, mended: Reading): Reading {
    const changes = new Map(
      [...mended.facts.placed]
        .filter(([node, key]) => before.placed.get(node) !== key)
        .map(([node, key]) => [readingOf(before, node), key]),
    )
    const alike = [...mended.facts.placements].flatMap(([node, layouts]): [Node, string][] => {
      const key = mended.facts.placed.has(node) ? undefined : changes.get(readingOf(mended.facts, node))
      return key !== undefined && layouts.some((dims) => placementKey(dims) === key) ? [[node, key]] : []
    })
    if (alike.length === 0 || mended.fault < 0) return mended
    const found = infer(graph, opset, axes, new Map([...mended.facts.placed, ...alike]))
    const fault = firstFault(found)
    const further = fault < 0 || fault > mended.fault
    return further && found.impossible.length <= mended.facts.impossible.length ? { facts: found, fault } : mended
  }

  /** Another reading that is without fault up to and at `goal`: one Reshape read another way, or several, up to `depth`. */
  function repair(from: Reading, goal: number, depth: number, settled: ReadonlySet<Node> = new Set()): Reading | null {
    const node = graph.nodes[from.fault]
    if (node === undefined) return null
    for (const reshape of nearestFirst(node)) {
      if (settled.has(reshape)) continue
      for (const key of otherReadings(from.facts, reshape)) {
        tries += 1
        if (tries > TRIES) return null
        const found = readAs(from.facts, reshape, key)
        if (found.facts.impossible.length > from.facts.impossible.length) continue
        if (found.fault < 0 || found.fault > goal) return found
        const deeper = depth > 1 ? repair(found, goal, depth - 1, new Set([...settled, reshape])) : null
        if (deeper !== null) return deeper
      }
    }
    return null
  }

  function readAs(from: Facts, reshape: Node, key: string): Reading {
    // What was settled behind this Reshape was settled for the old reading of it.
    const behind = dependents(graph, reshape.output(0) as Value)
    const kept = [...from.placed].filter(([other]) => !behind.has(other.output(0) as Value))
    const found = infer(graph, opset, axes, new Map([...kept, [reshape, key]]))
    return { facts: found, fault: firstFault(found) }
  }
}

/** Facts, and the number of the first node that does not work on each image by itself; -1 where all do. */
interface Reading {
  readonly facts: Facts
  readonly fault: number
}

/** How the result of a Reshape is read. */
function readingOf(facts: Facts, reshape: Node): string {
  return placementKey(facts.dims(reshape.output(0)) ?? [])
}

function otherReadings(facts: Facts, reshape: Node): string[] {
  const current = readingOf(facts, reshape)
  return (facts.placements.get(reshape) ?? []).map(placementKey).filter((key) => key !== current)
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
