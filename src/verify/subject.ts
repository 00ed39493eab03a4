import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import { readProvenance } from '../ir/provenance.ts'
import type { Layout } from './layout.ts'
import { type ModelFacts, readModelFacts } from './model-facts.ts'
import type { Precision } from './report.ts'
import { SIZES_INPUT } from './scene.ts'

/** How a model tells images from padding. */
export interface Masking {
  readonly source: 'pixels' | 'sizes'
  readonly mode: 'rect' | 'patch'
  /** The value of padding. */
  readonly padValue: number
  /** How far from it a pixel still is padding. */
  readonly tol: number
}

/** Two models, and what the second promises of the first. */
export interface Subject {
  readonly original: ModelFacts
  readonly transformed: ModelFacts
  /** Null where the transformed model does not promise anything of padded batches; `unmasked` says why. */
  readonly masking: Masking | null
  readonly unmasked: string
  /** Whether it promises zeros at padding; else why not. */
  readonly zeroed: true | string
  /** Outputs that can be compared, by name. */
  readonly layouts: ReadonlyMap<string, Layout>
  /** Outputs that cannot, and why. */
  readonly left: readonly { readonly output: string; readonly reason: string }[]
  readonly precision: Precision
  readonly notes: readonly string[]
}

const RANK: readonly Precision[] = ['fp32', 'fp16', 'bf16', 'int8', 'dynamic int8']

/**
 * Reads what can be checked off both models. What a model of another maker promises is not written in it: it is held to everything.
 * @param paths of the files that they were read from, for errors
 * @throws VitpassError MODEL_UNSUPPORTED where one of them is no vision encoder with patches
 */
export function readSubject(
  original: Model,
  transformed: Model,
  paths: { readonly original: string; readonly transformed: string },
): Subject {
  const facts = {
    original: factsOf(original, paths.original),
    transformed: factsOf(transformed, paths.transformed),
  }
  const { passes } = readProvenance(transformed)
  const applied = new Set(passes.map(({ name }) => name))
  const ours = passes.length > 0
  const outputs = readOutputs(facts.original, facts.transformed, new Set(readProvenance(transformed).inexact ?? []))
  const precision =
    RANK[Math.max(RANK.indexOf(facts.original.precision), RANK.indexOf(facts.transformed.precision))] ?? 'fp32'
  return {
    ...facts,
    masking: ours && !applied.has('mask') ? null : readMasking(transformed, facts.transformed),
    unmasked: 'pass mask was not applied, so padded batches are not promised to be right',
    zeroed: !ours || applied.has('zero') ? true : 'pass zero was not applied',
    ...outputs,
    precision,
    notes: [
      ...(readProvenance(original).passes.length > 0
        ? ['the original was written by vitpass itself: it is no independent witness']
        : []),
      ...(applied.has('mask') && !applied.has('posenc') && facts.original.native !== null
        ? ['pass posenc was not applied: positions follow the padded size, not each image']
        : []),
      ...(precision === 'dynamic int8'
        ? [
            'dynamic int8 takes one scale for a whole batch: images are held against the original padded but by themselves; other images move them',
          ]
        : []),
    ],
  }
}

function factsOf(model: Model, path: string): ModelFacts {
  try {
    return readModelFacts(model)
  } catch (error) {
    if (!(error instanceof VitpassError) || error.where !== undefined) throw error
    const { code, message, node, remedy } = error
    throw new VitpassError(code, message, {
      where: path,
      ...(node === undefined ? {} : { node }),
      ...(remedy === undefined ? {} : { remedy }),
      cause: error,
    })
  }
}

function readMasking(model: Model, { inputs }: ModelFacts): Masking {
  const { validity = {} } = readProvenance(model)
  const source = validity.source ?? (inputs.includes(SIZES_INPUT) ? 'sizes' : 'pixels')
  return {
    source: source === 'sizes' ? 'sizes' : 'pixels',
    mode: validity.mode === 'patch' ? 'patch' : 'rect',
    padValue: Number(validity.padValue ?? 0),
    tol: Number(validity.tol ?? 0),
  }
}

/** Layouts by the original where its graph shows them, else by the transformed model. */
function readOutputs(
  original: ModelFacts,
  transformed: ModelFacts,
  inexact: ReadonlySet<string>,
): Pick<Subject, 'layouts' | 'left'> {
  const layouts = new Map<string, Layout>()
  const left: { output: string; reason: string }[] = []
  for (const [output, read] of original.layouts) {
    if (inexact.has(output)) {
      left.push({ output, reason: 'padded neighbours are blended into it, as mask.allowDense let be' })
      continue
    }
    const other = transformed.layouts.get(output)
    const layout = typeof read === 'string' ? other : read
    if (typeof layout === 'object') layouts.set(output, layout)
    else left.push({ output, reason: String(read) })
  }
  return { layouts, left }
}
