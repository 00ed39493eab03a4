import type { Model } from '../ir/model.ts'
import { dependents } from './dependence.ts'
import type { Disagreement } from './facts.ts'
import { callerInputs } from './pixels.ts'
import { freeTrace } from './trace.ts'

/**
 * Every place at which the shapes do not agree when the image has an arbitrary size, among the nodes that pixels reach and those that
 * make what they read. A model that is free of baked sizes has none.
 */
export function clashesWhenFree(model: Model): readonly Disagreement[] {
  const facts = freeTrace(model)
  const live = dependents(model.graph, ...callerInputs(model))
  return facts.disagreements.filter(({ kind, node }) => {
    const reached = node.outputs.some((value) => value !== null && live.has(value))
    return reached || kind === 'impossible'
  })
}
