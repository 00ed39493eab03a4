import type { Graph } from '../ir/graph.ts'

const NUMBERED = /^(.*)_token_\d+$/

/**
 * Gives constants that ONNX Runtime named when it saved the graph (`squeeze_axes`, `splits_token_3`) names of vitpass's own. A session that
 * opens the rewritten graph may fuse again, and some of its fusions (Gather pairs into Split, as of 1.30 to 1.32) take their usual name
 * without asking whether it is free: the session then fails with "Attempt to replace the existing tensor". Constants that are
 * inputs or outputs of the model keep their names.
 *
 * @returns how many were renamed
 */
export function renameGenerated(graph: Graph): number {
  const generated = graph.initializers.filter(({ name }) => NUMBERED.test(name) || FIRST.has(name))
  const kept = new Set([...graph.inputs, ...graph.outputs])
  const renamed = generated.filter((value) => !kept.has(value))
  for (const value of renamed) graph.rename(value, `vitpass/${NUMBERED.exec(value.name)?.[1] ?? value.name}`)
  return renamed.length
}

/** The names of the first of a kind, which get no number. */
const FIRST = new Set(['squeeze_axes', 'splits', 'gemm_input_shape', 'gemm_output_shape'])
