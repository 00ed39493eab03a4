import { type Anatomy, readAnatomy } from '../analysis/anatomy.ts'
import { VitpassError } from '../errors.ts'
import { cloneModel } from '../ir/clone.ts'
import type { Model } from '../ir/model.ts'
import { type Provenance, readProvenance } from '../ir/provenance.ts'
import type { DeclaredDim, Value } from '../ir/value.ts'
import type { RefusalReport } from './report.ts'
import { PassRefusedError, type Registry, runPasses } from './run.ts'

export interface ValueSummary {
  readonly name: string
  readonly dtype: string
  readonly dims: readonly DeclaredDim[] | null
}

/** Whether a pass would do something for a model, tried on a copy of its graph. */
export interface PassFit {
  readonly pass: string
  readonly fits: boolean
  /** `applied`, `already`, `nothing`, or `refused`. */
  readonly status: string
  /** The pass that refused, where one that this pass requires did. */
  readonly refusedBy?: string
  readonly refusals: readonly RefusalReport[]
  readonly notes: readonly string[]
}

export interface InspectReport {
  readonly producer: string
  readonly irVersion: number
  readonly opsets: Readonly<Record<string, number>>
  readonly nodes: number
  readonly operators: Readonly<Record<string, number>>
  readonly parameters: number
  readonly inputs: readonly ValueSummary[]
  readonly outputs: readonly ValueSummary[]
  /** Null where the graph is not read as a vision transformer; `notRead` says why. */
  readonly anatomy: Anatomy | null
  readonly notRead: { readonly reason: string; readonly node?: string; readonly remedy?: string } | null
  readonly passes: readonly PassFit[]
  /** What vitpass has done to the model before. */
  readonly provenance: Provenance
}

/** Describes a model and tries every pass on a copy of its graph. The model stays as it is. */
export function inspectModel(registry: Registry, model: Model): InspectReport {
  const { graph } = model
  const operators: Record<string, number> = {}
  for (const node of graph.walk()) {
    operators[node.operator] = (operators[node.operator] ?? 0) + 1
  }
  const read = attemptAnatomy(registry, model)
  return {
    producer: [model.producerName, model.producerVersion].filter(Boolean).join(' '),
    irVersion: model.irVersion,
    opsets: Object.fromEntries(
      [...model.opsets].map(([domain, version]) => [domain === '' ? 'ai.onnx' : domain, version]),
    ),
    nodes: graph.nodes.length,
    operators,
    parameters: graph.initializers.reduce((n, { tensor }) => n + (tensor?.dims.reduce((m, dim) => m * dim, 1) ?? 0), 0),
    inputs: graph.inputs.filter((value) => value.tensor === null).map(summarise),
    outputs: graph.outputs.map(summarise),
    ...read,
    passes: registry.passes.map((pass) => tryPass(registry, model, pass.name)),
    provenance: readProvenance(model),
  }
}

function summarise(value: Value): ValueSummary {
  return { name: value.name, dtype: value.dtype ?? 'unknown', dims: value.declaredDims }
}

function attemptAnatomy(registry: Registry, model: Model): Pick<InspectReport, 'anatomy' | 'notRead'> {
  try {
    return { anatomy: readAnatomy(lowered(registry, model)), notRead: null }
  } catch (error) {
    if (!(error instanceof VitpassError) || error.code === 'INTERNAL') throw error
    const { message, node, remedy } = error
    const detail = { ...(node === undefined ? {} : { node }), ...(remedy === undefined ? {} : { remedy }) }
    return { anatomy: null, notRead: { reason: message, ...detail } }
  }
}

/** A copy in which fused attention is written out, where it can be: there its parts are to be seen. */
function lowered(registry: Registry, model: Model): Model {
  const copy = cloneModel(model)
  try {
    runPasses(registry, copy, ['eager'])
  } catch (error) {
    if (!(error instanceof PassRefusedError)) throw error
  }
  return copy
}

function tryPass(registry: Registry, model: Model, name: string): PassFit {
  try {
    const report = runPasses(registry, cloneModel(model), [name]).passes.at(-1)
    const status = report?.status ?? 'nothing'
    return {
      pass: name,
      fits: status === 'applied' || status === 'already',
      status,
      refusals: [],
      notes: report?.notes ?? [],
    }
  } catch (error) {
    if (!(error instanceof PassRefusedError)) throw error
    const by = error.pass === undefined || error.pass === name ? {} : { refusedBy: error.pass }
    return { pass: name, fits: false, status: 'refused', ...by, refusals: error.refusals, notes: [] }
  }
}
