import { VitpassError } from '../errors.ts'
import { cloneModel } from '../ir/clone.ts'
import type { Model } from '../ir/model.ts'
import { findApplied, recordPass } from '../ir/provenance.ts'
import { verify } from '../ir/verify.ts'
import { type OptionsByPass, plainOptions, resolveOptions } from './options.ts'
import type { Pass, PassOptions, PassResult, Refusal } from './pass.ts'
import type { PassReport, RefusalReport, RunReport } from './report.ts'

/** The passes that exist, in the order in which they run, and the presets that stand for several. */
export interface Registry {
  readonly passes: readonly Pass[]
  readonly presets: Readonly<Record<string, readonly string[]>>
}

/** A pass refused. The report says what had run before it. */
export class PassRefusedError extends VitpassError {
  readonly report: RunReport
  readonly refusals: readonly RefusalReport[]

  constructor(pass: string, refusals: readonly RefusalReport[], report: RunReport) {
    const [first] = refusals
    const more = refusals.length > 1 ? ` (and ${refusals.length - 1} more: see --explain)` : ''
    super('PASS_REFUSED', `${first?.reason ?? 'it does not apply'}${more}`, {
      pass,
      ...(first?.node === undefined ? {} : { node: first.node }),
      remedy: first?.remedy ?? 'encode this model in groups of equal size instead',
    })
    this.refusals = refusals
    this.report = report
  }
}

/**
 * The passes asked for and what they require, in running order.
 * @throws VitpassError UNKNOWN_PASS
 */
export function planPasses(registry: Registry, names: readonly string[]): { pass: Pass; added: boolean }[] {
  const asked = new Set(
    names.flatMap((name) => (Object.hasOwn(registry.presets, name) ? (registry.presets[name] ?? []) : [name])),
  )
  const all = new Set<string>()
  const add = (name: string): void => {
    const pass = registry.passes.find((candidate) => candidate.name === name)
    if (pass === undefined) {
      const known = [...registry.passes.map((candidate) => candidate.name), ...Object.keys(registry.presets)]
      throw new VitpassError('UNKNOWN_PASS', `there is no pass "${name}"`, { remedy: `known: ${known.join(', ')}` })
    }
    if (all.has(name)) return
    all.add(name)
    pass.requires.forEach(add)
  }
  asked.forEach(add)
  return registry.passes.filter((pass) => all.has(pass.name)).map((pass) => ({ pass, added: !asked.has(pass.name) }))
}

/**
 * Runs passes over a model, in place, checking the graph after each. Whatever goes wrong, the model is as it was.
 *
 * @throws PassRefusedError when a pass does not apply
 * @throws VitpassError UNKNOWN_PASS, UNKNOWN_OPTION, BAD_OPTION before anything runs; PASS_BROKE_GRAPH
 */
export function runPasses(
  registry: Registry,
  model: Model,
  names: readonly string[],
  options: OptionsByPass = {},
): RunReport {
  const plan = planPasses(registry, names)
  for (const name of Object.keys(options)) {
    if (!plan.some(({ pass }) => pass.name === name)) {
      planPasses(registry, [name])
      throw new VitpassError('UNKNOWN_OPTION', `an option is given for pass ${name}, which does not run`, {
        remedy: `add it to --passes or leave the option out`,
      })
    }
  }
  const ready = plan.map(({ pass, added }): Step => {
    const given = Object.keys(options[pass.name] ?? {})
    return { pass, added, given, options: resolveOptions(pass, options[pass.name]) }
  })
  const nodesBefore = model.graph.nodes.length
  const start = performance.now()
  const reports: PassReport[] = []
  const report = (): RunReport => ({
    passes: reports,
    nodesBefore,
    nodesAfter: model.graph.nodes.length,
    seconds: (performance.now() - start) / 1000,
  })
  const backup = cloneModel(model)
  try {
    for (const { pass, options: own } of ready) pass.prepare?.(model, own)
    for (const [i, step] of ready.entries()) {
      const later = new Set(ready.slice(i + 1).map(({ pass }) => pass.name))
      const done = runStep(step, model, later)
      reports.push(done)
      if (done.status === 'refused') throw new PassRefusedError(step.pass.name, done.refusals, report())
    }
  } catch (error) {
    model.restore(backup)
    throw error
  }
  return report()
}

interface Step {
  readonly pass: Pass
  readonly added: boolean
  readonly options: PassOptions
  /** Names of the options that the caller gave. */
  readonly given: readonly string[]
}

function runStep({ pass, added, options, given }: Step, model: Model, later: ReadonlySet<string>): PassReport {
  const nodesBefore = model.graph.nodes.length
  const start = performance.now()
  const result = runOne(pass, model, options, given)
  return {
    pass: pass.name,
    version: pass.version,
    options: plainOptions(options),
    added,
    status: result.status,
    sites: result.status === 'applied' ? result.sites : {},
    notes: notesOf(result, later),
    refusals: result.status === 'refused' ? result.refusals.map(describeRefusal) : [],
    nodesBefore,
    nodesAfter: model.graph.nodes.length,
    seconds: (performance.now() - start) / 1000,
  }
}

function notesOf(result: Outcome, later: ReadonlySet<string>): readonly string[] {
  if (result.status === 'refused') return []
  const pending = result.status === 'applied' ? (result.pending ?? []) : []
  return [...(result.notes ?? []), ...pending.filter(({ pass }) => !later.has(pass)).map(({ note }) => note)]
}

type Outcome = PassResult | { readonly status: 'already'; readonly notes: readonly string[] }

function runOne(pass: Pass, model: Model, options: PassOptions, given: readonly string[]): Outcome {
  const applied = findApplied(model, pass.name)
  const plain = plainOptions(options)
  if (applied !== undefined) {
    const same = given.every((key) => applied.options[key] === plain[key])
    if (same) return { status: 'already', notes: ['already applied'] }
    return {
      status: 'refused',
      refusals: [
        {
          reason: `already applied with options ${JSON.stringify(applied.options)}`,
          remedy: 'start from the original model',
        },
      ],
    }
  }
  const result = attempt(pass, model, options)
  if (result.status !== 'applied') return result
  forgetInnerTypes(model)
  try {
    verify(model)
  } catch (error) {
    throw error instanceof VitpassError ? error.withPass(pass.name) : error
  }
  recordPass(model, { name: pass.name, version: pass.version, options: plain })
  return result
}

/** Errors that say "not this model" are refusals; the rest are failures of the pass and keep its name. */
function attempt(pass: Pass, model: Model, options: PassOptions): PassResult {
  try {
    return pass.run(model, options)
  } catch (error) {
    if (!(error instanceof VitpassError)) throw error
    if (error.code !== 'PASS_REFUSED' && error.code !== 'MODEL_UNSUPPORTED') throw error.withPass(pass.name)
    const node = [...model.graph.walk()].find((candidate) => candidate.label === error.node)
    return {
      status: 'refused',
      refusals: [
        {
          reason: error.message,
          ...(node === undefined ? {} : { node }),
          ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
        },
      ],
    }
  }
}

function describeRefusal(refusal: Refusal): RefusalReport {
  return {
    reason: refusal.reason,
    ...(refusal.node === undefined ? {} : { node: `${refusal.node.opType} ${refusal.node.label}` }),
    ...(refusal.remedy === undefined ? {} : { remedy: refusal.remedy }),
  }
}

/**
 * Drops the declared types of values inside the graph. Exporters write wrong ones (an axis of the traced batch as 1), passes change
 * what they describe, and ONNX Runtime believes them.
 */
function forgetInnerTypes(model: Model): void {
  const outputs = new Set(model.graph.outputs)
  for (const node of model.graph.nodes) {
    for (const value of node.outputs) if (value !== null && !outputs.has(value)) value.type = null
  }
}
