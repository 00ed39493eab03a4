import type { Change, DiffReport, InitializerChanges, TensorSummary } from '../diff/report.ts'
import { formatBytes, formatCount, formatTable } from './table.ts'

/** What `vitpass diff --json` prints. */
export interface DiffDocument extends DiffReport {
  /** The two files. */
  readonly before: string
  readonly after: string
}

/** Longest text of a metadata entry that is shown. */
const SHOWN = 60

/** Initializers below this many bytes are counted instead of listed. */
const SMALL = 1000

/** The same for a person. */
export function formatDiff(document: DiffDocument): string {
  const { before, after, same, nodes, operators, inputs, outputs, recomputed, initializers } = document
  const { unchanged, rewired, removed, added } = nodes
  const rows = [
    [
      'nodes',
      `${nodes.before} -> ${nodes.after}: ${unchanged} unchanged, ${rewired} on changed inputs, ${removed} removed, ${added} added`,
    ],
    ...operators.map((change) => ['operator', `${change.name} ${change.before ?? 0} -> ${change.after ?? 0}`]),
    ...inputs.map((change) => ['input', describe(change, String)]),
    ...outputs.map((change) => ['output', describe(change, String)]),
    ...recomputed.map((name) => ['output', `${name} is computed otherwise`]),
    ['initializers', describeTotals(initializers)],
    ...describeInitializers(initializers),
    ...document.functions.map((change) => ['function', `${change.name} ${verb(change)}`]),
    ...document.opsets.map((change) => ['opset', describe(change, String)]),
    ...document.header.map((change) => ['file', describe(change, String)]),
    ...document.metadata.map((change) => ['metadata', describe(change, shorten)]),
  ]
  return [`${before} -> ${after}`, '', ...formatTable(rows), '', same ? 'the same' : 'different', ''].join('\n')
}

function verb({ before, after }: Change<unknown>): string {
  if (before === null) return 'added'
  return after === null ? 'removed' : 'changed'
}

function describe<T>(change: Change<T>, show: (value: T) => string): string {
  const { name, before, after } = change
  const values = [before, after].filter((value) => value !== null).map(show)
  return `${name} ${verb(change)}: ${values.join(' -> ')}`
}

function describeTotals({ before, after, unchanged }: InitializerChanges): string {
  const total = ({ count, bytes }: InitializerChanges['before']): string => `${count} (${formatBytes(bytes)})`
  return `${total(before)} -> ${total(after)}: ${unchanged} unchanged`
}

/** Each one of some size; small ones, such as shapes, as their number. */
function describeInitializers({ changes }: InitializerChanges): string[][] {
  const isSmall = ({ before, after }: Change<TensorSummary>) => Math.max(before?.bytes ?? 0, after?.bytes ?? 0) < SMALL
  const told = changes.filter((change) => !isSmall(change)).map((change) => describe(change, describeTensor))
  const counted = ['added', 'removed', 'changed'].flatMap((what) => {
    const count = changes.filter((change) => isSmall(change) && verb(change) === what).length
    return count === 0 ? [] : [`${count} under ${formatBytes(SMALL)} ${what}`]
  })
  return [...told, ...counted].map((text) => ['initializer', text])
}

function describeTensor({ dtype, dims, bytes }: TensorSummary): string {
  return `${dtype} [${dims.join(', ')}], ${formatBytes(bytes)}`
}

function shorten(text: string): string {
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}... (${formatCount(text.length, 'character')})`
}
