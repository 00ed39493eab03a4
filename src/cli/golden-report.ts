import { posix } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Measured } from '../verify/measure.ts'
import { EXIT, exitCodeFor } from './exit-code.ts'
import type { GoldenReport, GoldenResult, GoldenStatus } from './golden-suite.ts'
import { formatCount, formatTable } from './table.ts'
import { formatDifference } from './verify-report.ts'

/** The table of exports and the count, for a terminal. */
export function formatGolden({ dir, providers, results, seconds }: GoldenReport): string[] {
  const head = ['case', 'export', 'worst', 'tolerance', 'result']
  const rows = results.map((result) => {
    const told = toldCheck(result.checks)
    return [
      result.case,
      result.export === null ? '' : posix.basename(result.export),
      told !== undefined && Number.isFinite(told.worst) ? formatDifference(told.worst) : '',
      told === undefined ? '' : formatDifference(told.tolerance),
      describeResult(result),
    ]
  })
  const count = (status: GoldenStatus) => results.filter((result) => result.status === status).length
  const counted = (['ok', 'failed', 'unreadable', 'not possible'] as const)
    .filter((status) => status === 'ok' || count(status) > 0)
    .map((status) => `${count(status)} ${status}`)
  return [
    ...formatTable([head, ...rows]),
    '',
    `${formatCount(results.length, 'export')} in ${dir} on ${providers.join(', ')}: ${counted.join(', ')}, ${seconds.toFixed(1)} s`,
  ]
}

/** The check whose numbers stand in the table: the first that failed, else the one with the goldens. */
function toldCheck(checks: readonly Measured[]): Measured | undefined {
  return checks.find(({ ok }) => !ok) ?? checks.find(({ name }) => name === 'golden')
}

function describeResult({ status, checks, reason }: GoldenResult): string {
  const failed = checks.filter(({ ok }) => !ok).map(({ name, at }) => `${name} (${at})`)
  const why = [...(reason === null ? [] : [reason]), ...failed].join('; ').replaceAll(/\s+/g, ' ')
  if (status !== 'ok') return `${status}: ${why}`
  return reason === null ? 'ok' : `ok, refused: ${why}`
}

/** The error that the command ends with: it names the exports. Undefined where all that could be checked are right. */
export function goldenError({ dir, passed, results }: GoldenReport): VitpassError | undefined {
  if (passed) return undefined
  const failed = results.filter(({ status }) => status === 'failed')
  if (failed.length > 0) {
    return new VitpassError('VERIFY_FAILED', `${formatCount(failed.length, 'export')} failed: ${namesOf(failed)}`, {
      where: dir,
      remedy: 'the table tells what differs and where',
    })
  }
  const unreadable = results.filter(({ status }) => status === 'unreadable')
  if (unreadable.length === 0) {
    return new VitpassError('VERIFY_FAILED', 'no export could be checked, so nothing is verified', { where: dir })
  }
  const code = unreadable
    .map((result) => result.code)
    .find((some) => some !== null && exitCodeFor(some) === EXIT.failed)
  const what = `${namesOf(unreadable)} could not be checked`
  return new VitpassError(code ?? 'CONFIG_INVALID', what, { where: dir, remedy: 'the table tells why' })
}

function namesOf(results: readonly GoldenResult[]): string {
  const names = results.map((result) => posix.join(result.case, posix.basename(result.export ?? '')))
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ')
}
