import { cloneNode } from './clone.ts'
import type { Graph } from './graph.ts'
import type { Model, ModelFunction } from './model.ts'
import type { Node } from './node.ts'
import type { Value } from './value.ts'

/** Rounds at most: functions that call functions, one level a round. */
const DEPTH = 16

/**
 * Puts the bodies of the model's own functions in place of their calls, so that analyses see one graph. A call stays where the
 * function takes attributes or was written for another opset. Functions that nothing calls any more are removed.
 *
 * @returns how many calls were replaced
 */
export function inlineFunctions(model: Model): number {
  let count = 0
  for (let round = 0; round < DEPTH; round += 1) {
    const calls = model.graph.nodes.flatMap((node) => {
      const found = model.functions.find((one) => isCall(node, one) && canInline(model, one))
      return found === undefined ? [] : [{ node, called: found }]
    })
    if (calls.length === 0) break
    for (const { node, called } of calls) inlineCall(model.graph, node, called)
    model.graph.sort()
    count += calls.length
  }
  if (count > 0) dropUncalled(model)
  return count
}

function isCall(node: Node, called: ModelFunction): boolean {
  return node.opType === called.name && node.domain === called.domain && node.overload === called.overload
}

function canInline(model: Model, called: ModelFunction): boolean {
  if (called.attributes.length > 0 || called.attributeDefaults.size > 0) return false
  return [...called.opsets].every(([domain, version]) => (model.opsets.get(domain) ?? version) === version)
}

function inlineCall(graph: Graph, call: Node, called: ModelFunction): void {
  const values = new Map<Value, Value>()
  const missing = new Set<Value>()
  for (const [i, formal] of called.graph.inputs.entries()) {
    const actual = call.input(i)
    if (actual === null) missing.add(formal)
    else values.set(formal, actual)
  }
  const cloned = (value: Value): Value => {
    const known = values.get(value)
    if (known !== undefined) return known
    const made = graph.newValue(`${call.label}/${value.name}`)
    values.set(value, made)
    return made
  }
  for (const inner of called.graph.nodes) {
    const copy = graph.addNode(cloneNode(inner, graph, values, cloned))
    copy.name = `${call.label}/${inner.label}`
    for (const [slot, value] of inner.inputs.entries())
      if (value !== null && missing.has(value)) copy.setInput(slot, null)
  }
  for (const [i, formal] of called.graph.outputs.entries()) {
    const output = call.output(i)
    if (output !== null) graph.replaceUses(output, cloned(formal))
  }
  graph.removeNodes([call])
}

function dropUncalled(model: Model): void {
  const called = new Set<string>()
  for (const graph of [model.graph, ...model.functions.map((one) => one.graph)]) {
    for (const node of graph.walk()) called.add(`${node.domain} ${node.opType} ${node.overload}`)
  }
  const kept = model.functions.filter((one) => called.has(`${one.domain} ${one.name} ${one.overload}`))
  model.functions.splice(0, model.functions.length, ...kept)
  model.graph.touch()
}
