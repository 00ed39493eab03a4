import { basename } from 'node:path'
import { registry } from '../../passes/index.ts'
import { type ErrorCode, VitpassError } from '../errors.ts'
import { readProvenance } from '../ir/provenance.ts'
import { readModel } from '../onnx/node.ts'
import type { OptionsByPass } from '../pipeline/options.ts'
import { PassRefusedError, runPasses } from '../pipeline/run.ts'
import { Session } from '../runtime/session.ts'
import { caseFolders, type ExportEntry, exportPath, type GoldenCase, loadCase } from '../verify/golden-case.ts'
import { checkNativeRows } from '../verify/golden-native.ts'
import { checkProperties } from '../verify/golden-properties.ts'
import { requireUntouched } from '../verify/golden-record.ts'
import { type GoldenSubject, sharesScale } from '../verify/golden-subject.ts'
import type { Measured } from '../verify/measure.ts'
import { EXIT, exitCodeFor } from './exit-code.ts'
import { readTensorOptions } from './tensor-options.ts'
import { withTrialFile } from './trial-file.ts'

/** `unreadable`: the case, its export or the provider is at fault, not the rewritten model. */
export type GoldenStatus = 'ok' | 'failed' | 'unreadable' | 'not possible'

/** How one export of a case came out. */
export interface GoldenResult {
  readonly case: string
  /** The export's path, from the case's folder; null where the case cannot be read. */
  readonly export: string | null
  readonly status: GoldenStatus
  /** What was measured; nothing where the export was not run. */
  readonly checks: readonly Measured[]
  /** Why it failed without a measure, cannot be read, or is not possible; the pass's reason where it refuses as it should. */
  readonly reason: string | null
  /** The code of the error, where one ended it. */
  readonly code: ErrorCode | null
}

export interface GoldenReport {
  readonly dir: string
  readonly providers: readonly string[]
  /** True where at least one export is right, and all that could be checked are. */
  readonly passed: boolean
  readonly results: readonly GoldenResult[]
  readonly seconds: number
}

export interface GoldenSettings {
  /** Over the options that the case gives its export. */
  readonly options: OptionsByPass
  readonly providers: readonly string[]
}

const PASSES = ['padproof']

/**
 * Checks every export of the cases in a folder. What is wrong with one is its result and keeps none of the others from being checked.
 * @throws VitpassError FILE_NOT_FOUND where there is no case, RUNTIME_MISSING, and for `options` that no pass takes
 */
export async function checkGoldens(
  dir: string,
  settings: GoldenSettings,
  onStep: (what: string) => void = () => {},
): Promise<GoldenReport> {
  const start = performance.now()
  const results: GoldenResult[] = []
  for (const folder of caseFolders(dir)) {
    const named = { case: basename(folder), export: null }
    const loaded = await attempt(named, settings, async () => loadCase(folder))
    if ('status' in loaded) {
      results.push(loaded)
      continue
    }
    for (const entry of loaded.models) {
      onStep(`${named.case}: ${entry.file}`)
      const own = { case: named.case, export: entry.file }
      const result = await attempt(own, settings, () => checkExport(loaded, entry, settings))
      results.push('case' in result ? result : { ...own, ...result })
    }
  }
  const all = (status: GoldenStatus) => results.filter((result) => result.status === status).length
  return {
    dir,
    providers: settings.providers,
    passed: all('ok') > 0 && all('failed') === 0 && all('unreadable') === 0,
    results,
    seconds: (performance.now() - start) / 1000,
  }
}

type Outcome = Omit<GoldenResult, 'case' | 'export'>

/** What a body gives, or as a result why it cannot be had. */
async function attempt<T>(
  named: Pick<GoldenResult, 'case' | 'export'>,
  { options }: GoldenSettings,
  body: () => Promise<T>,
): Promise<T | GoldenResult> {
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof VitpassError) || error.code === 'RUNTIME_MISSING') throw error
    if (exitCodeFor(error.code) === EXIT.usage && Object.keys(options).length > 0) throw error
    return { ...named, status: 'unreadable', checks: [], reason: error.line(), code: error.code }
  }
}

/** @throws VitpassError where the case, its file or the provider is at fault */
async function checkExport(
  goldenCase: GoldenCase,
  entry: ExportEntry,
  { options, providers }: GoldenSettings,
): Promise<Outcome> {
  const { origin } = goldenCase
  const path = exportPath(goldenCase, entry)
  const model = await readModel(path)
  const shares = sharesScale(model)
  const native = origin.native === true && entry.knownWrong === undefined
  requireUntouched(model, path)
  if (native || origin.refuse === undefined) await requireOpens(path, providers)
  const rows = native ? await checkNativeRows(path, goldenCase, entry, providers) : []
  if (origin.native === true && origin.refuse === undefined) {
    const reason = entry.knownWrong ?? 'it takes images of any size by itself'
    return native ? outcomeOf(rows) : { status: 'not possible', checks: [], reason, code: null }
  }
  const given = await readTensorOptions(over(entry.options ?? {}, options), registry)
  try {
    runPasses(registry, model, PASSES, given)
  } catch (error) {
    if (!(error instanceof VitpassError) || exitCodeFor(error.code) === EXIT.usage) throw error
    const asKnown = origin.refuse !== undefined && error instanceof PassRefusedError
    const done = asKnown ? outcomeOf(rows) : { checks: rows, status: 'failed' as const, code: error.code }
    return { ...done, reason: error.line() }
  }
  if (origin.refuse !== undefined) {
    return { status: 'failed', checks: rows, reason: `no pass refuses it, though ${origin.refuse}`, code: null }
  }
  const masking = maskingOf(readProvenance(model).validity)
  const checks = await withTrialFile(model, path, { dryRun: true }, (transformed) =>
    checkProperties({
      transformed,
      original: path,
      goldenCase,
      entry,
      masking,
      zeroed: true,
      sharesScale: shares,
      providers,
    }),
  )
  return outcomeOf(checks)
}

function outcomeOf(checks: readonly Measured[]): Outcome {
  return { status: checks.every(({ ok }) => ok) ? 'ok' : 'failed', checks, reason: null, code: null }
}

/** That ONNX Runtime does not take the untouched export is no fault of the passes. @throws VitpassError RUNTIME_FAILED, RUNTIME_MISSING */
async function requireOpens(path: string, providers: readonly string[]): Promise<void> {
  const session = await Session.open(path, { providers, threads: 1 })
  await session.close()
}

function over(own: OptionsByPass, given: OptionsByPass): OptionsByPass {
  const passes = new Set([...Object.keys(own), ...Object.keys(given)])
  return Object.fromEntries([...passes].map((pass) => [pass, { ...own[pass], ...given[pass] }]))
}

/** @throws VitpassError BAD_OPTION for padding other than the zeros that the checks pad with */
function maskingOf(
  validity: Readonly<Record<string, string | number | boolean>> | undefined = {},
): GoldenSubject['masking'] {
  const { source, mode, padValue = 0, tol = 0 } = validity
  if (Number(padValue) !== 0 || Number(tol) !== 0) {
    throw new VitpassError('BAD_OPTION', 'goldens are checked with padding of exact zeros', {
      remedy: 'leave mask.padValue and mask.tol out; `vitpass verify` checks models that have them',
    })
  }
  return { source: source === 'sizes' ? 'sizes' : 'pixels', mode: mode === 'patch' ? 'patch' : 'rect' }
}
