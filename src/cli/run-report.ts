import type { PassReport, RunReport } from '../pipeline/report.ts'
import type { VerifyReport } from '../verify/report.ts'
import { formatBytes, formatCount, formatTable } from './table.ts'
import { formatChecks } from './verify-report.ts'

/** What `vitpass run` did: its `--json` document, and what the text for a person is made from. */
export interface RunDocument extends Partial<RunReport> {
  readonly model: string
  /** The file written; null with --dry-run and when nothing could be written. */
  readonly output: string | null
  /** Size of that file, without external data. */
  readonly bytes: number | null
  readonly dryRun: boolean
  /** With --verify, what came of it. */
  readonly verification?: VerifyReport
}

/** Passes that the user named (a preset counts as one) and that found nothing to do in this model. */
export function findIdle(reports: readonly PassReport[], asked: readonly (readonly string[])[]): string[] {
  const idle = new Set(reports.filter(({ status }) => status === 'nothing').map(({ pass }) => pass))
  return asked.filter((names) => names.every((name) => idle.has(name))).map((names) => names.join(','))
}

/** The table, the notes and the result, for a terminal. */
export function formatRun(document: RunDocument, explain: boolean): string {
  const passes = document.passes ?? []
  const lines = [`${document.model}`, '', ...formatPasses(passes)]
  if (passes.some(({ added }) => added)) lines.push('* added: another pass requires it')
  if (explain) lines.push(...passes.flatMap((report) => ['', ...explainPass(report)]))
  else lines.push(...formatNotes(passes))
  const { nodesBefore, nodesAfter, seconds } = document
  if (nodesBefore !== undefined && nodesAfter !== undefined && seconds !== undefined) {
    lines.push('', `${nodesBefore} -> ${nodesAfter} nodes in ${seconds.toFixed(2)} s`)
  }
  if (document.verification !== undefined) lines.push('', ...formatChecks(document.verification))
  lines.push(formatResult(document))
  return `${lines.join('\n')}\n`
}

function formatPasses(passes: readonly PassReport[]): string[] {
  const head = ['pass', 'status', 'nodes', 'seconds', 'changed']
  const rows = passes.map((report) => [
    `${report.pass}${report.added ? '*' : ''}`,
    describeStatus(report),
    report.nodesBefore === report.nodesAfter ? `${report.nodesAfter}` : `${report.nodesBefore} -> ${report.nodesAfter}`,
    report.seconds.toFixed(2),
    summariseSites(report),
  ])
  return formatTable([head, ...rows])
}

function describeStatus({ status }: PassReport): string {
  return status === 'already' ? 'already applied' : status
}

/** Kinds of changes that a row of the table names; --explain names all. */
const SITES_IN_TABLE = 3

function summariseSites({ sites }: PassReport): string {
  const all = Object.entries(sites).sort(([, a], [, b]) => b - a)
  const shown = all.slice(0, SITES_IN_TABLE).map(([what, count]) => formatCount(count, what))
  const more = all.length - shown.length
  return [...shown, ...(more > 0 ? [`${more} more`] : [])].join(', ')
}

/** Notes that matter without --explain: not those of passes that only say they had nothing to do. */
function formatNotes(passes: readonly PassReport[]): string[] {
  const told = passes.filter(({ status, added }) => status === 'applied' || (status === 'nothing' && !added))
  const notes = told.flatMap((report) => report.notes.map((note) => `${report.pass}: ${note}`))
  return notes.length === 0 ? [] : ['', ...notes]
}

function explainPass(report: PassReport): string[] {
  const options = Object.entries(report.options).map(([key, value]) => `${key}=${value}`)
  return [
    `${report.pass}: ${describeStatus(report)}${report.added ? ', added' : ''}`,
    ...(options.length === 0 ? [] : [`  options: ${options.join(', ')}`]),
    ...Object.entries(report.sites).map(([what, count]) => `  ${formatCount(count, what)}`),
    ...report.notes.map((note) => `  note: ${note}`),
    ...report.refusals.map(
      ({ reason, node, remedy }) =>
        `  refused: ${reason}${node === undefined ? '' : ` (node ${node})`}${remedy === undefined ? '' : `; ${remedy}`}`,
    ),
  ]
}

function formatResult({ output, bytes, dryRun }: RunDocument): string {
  if (output !== null) return `wrote ${output}${bytes === null ? '' : ` (${formatBytes(bytes)})`}`
  return dryRun ? 'nothing written: dry run' : 'nothing written'
}
