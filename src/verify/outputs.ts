import type { Size } from '../runtime/image.ts'
import type { Dense } from '../runtime/session.ts'
import { failure, impossible } from './checks.ts'
import { axisLength, type Layout } from './layout.ts'
import { type Grid, gridOf } from './padded.ts'
import type { CheckResult } from './report.ts'
import { play, type Runner } from './scene.ts'
import type { Subject } from './subject.ts'

export interface FitOutputs {
  /** Outputs with the axes that the original's graph says; only these can be compared. */
  readonly layouts: ReadonlyMap<string, Layout>
  readonly results: readonly CheckResult[]
}

/** Holds the outputs of the transformed model, run once on an image of this size, against the layouts of the original's. */
export async function fitOutputs(subject: Subject, runner: Runner, size: Size): Promise<FitOutputs> {
  const left = subject.left.map(({ output, reason }) => impossible(`output ${output}`, null, reason))
  const outputs = await probe(subject, runner, size)
  // A model that fails on this image is told by the checks that run it.
  if (outputs === null) return { layouts: subject.layouts, results: left }
  const layouts = new Map<string, Layout>()
  const wrong: CheckResult[] = []
  const grid = gridOf(size, subject.transformed.patch)
  for (const [name, layout] of subject.layouts) {
    const problem = misfit(outputs.get(name), layout, grid)
    if (problem === null) layouts.set(name, layout)
    else wrong.push(failure(`output ${name}`, problem))
  }
  return { layouts, results: [...wrong, ...left] }
}

async function probe({ transformed }: Subject, runner: Runner, size: Size): Promise<ReadonlyMap<string, Dense> | null> {
  const { patch, channels, batch } = transformed
  const { height, width } = size
  const pixels = { data: new Float32Array(channels * height * width), dims: [channels, height, width] }
  const actor = { label: 'probe', pixels, size, own: gridOf(size, patch), hidden: [] }
  const actors = Array.from({ length: batch ?? 1 }, () => actor)
  try {
    return (await play({ runner, patch, layouts: new Map() }, { actors, canvas: size })).outputs
  } catch {
    return null
  }
}

function misfit(output: Dense | undefined, layout: Layout, grid: Grid): string | null {
  if (output === undefined) return 'the transformed model does not have it'
  const [batch = 0, ...dims] = output.dims
  const wanted = layout.map((axis, i) => axisLength(axis, grid) ?? dims[i] ?? '?')
  if (wanted.length === dims.length && wanted.every((length, i) => length === dims[i])) return null
  return `it is [${output.dims.join(', ')}] instead of [${[batch, ...wanted].join(', ')}]`
}
