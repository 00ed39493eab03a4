import { VitpassError } from '../errors.ts'
import type { CheckResult, VerifyReport } from '../verify/report.ts'
import { formatTable } from './table.ts'

/** The table of checks, the notes and the count, for a terminal. */
export function formatChecks({ checks, notes, precision, providers, seconds }: VerifyReport): string[] {
  const head = ['check', 'image', 'worst', 'tolerance', 'result']
  const rows = checks.map((result) => [
    result.check,
    result.image ?? 'all',
    result.worst === null ? '' : formatDifference(result.worst),
    result.tolerance === null ? '' : formatDifference(result.tolerance),
    describeResult(result),
  ])
  const count = (status: CheckResult['status']) => checks.filter((result) => result.status === status).length
  const counted = (['ok', 'failed', 'not possible'] as const)
    .filter((status) => status === 'ok' || count(status) > 0)
    .map((status) => `${count(status)} ${status}`)
  return [
    ...formatTable([head, ...rows]),
    '',
    ...notes.map((note) => `note: ${note}`),
    `${checks.length} checks in ${precision} on ${providers.join(', ')}: ${counted.join(', ')}, ${seconds.toFixed(1)} s`,
  ]
}

/** `0`, `3.1e-7`, `1e-4`. */
export function formatDifference(value: number): string {
  return value === 0 ? '0' : value.toExponential(1).replace('.0e', 'e')
}

function describeResult({ status, where, reason }: CheckResult): string {
  if (status === 'ok') return where === null ? 'ok' : `ok; ${where}`
  return `${status}: ${[reason, where].filter((text) => text !== null).join('; ')}`
}

/** The error that a failed verification ends the command with: it names the checks. Undefined where it passed. */
export function verificationError(report: VerifyReport, where: string): VitpassError | undefined {
  if (report.passed) return undefined
  const failed = [...new Set(report.checks.filter(({ status }) => status === 'failed').map(({ check }) => check))]
  if (failed.length === 0) {
    return new VitpassError('VERIFY_FAILED', 'nothing could be compared with the original, so nothing is verified', {
      where,
      remedy: 'give sizes that the original takes with --sizes HEIGHTxWIDTH',
    })
  }
  return new VitpassError('VERIFY_FAILED', `it does not answer as the original does: ${failed.join(', ')} failed`, {
    where,
    remedy: 'do not use this model; the table tells what differs and where',
  })
}
