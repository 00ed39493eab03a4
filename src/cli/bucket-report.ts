import type { BucketHints } from '../batching/hints.ts'
import type { TensorrtProfile } from '../batching/tensorrt.ts'
import type { RunReport } from '../pipeline/report.ts'
import type { Calibration } from '../runtime/calibrate.ts'
import { formatBytes, formatCount, formatTable } from './table.ts'

/** What `vitpass bucket` did: its `--json` document, and what the text for a person is made from. */
export interface BucketDocument extends Partial<RunReport> {
  readonly model: string
  /** The file written; null with --dry-run and when nothing could be written. */
  readonly output: string | null
  /** Size of that file, without external data. */
  readonly bytes: number | null
  readonly dryRun: boolean
  readonly sizes?: {
    /** The file or folder that they were read from. */
    readonly from: string
    readonly images: number
    readonly distinct: number
    readonly unreadable: readonly { readonly path: string; readonly reason: string }[]
  }
  readonly calibration?: Calibration
  readonly hints?: BucketHints
  /** What could be done better. */
  readonly advice?: readonly string[]
  /** Options for ONNX Runtime's TensorRT provider; null where an input of the model has axes that are not known. */
  readonly tensorrt?: TensorrtProfile | null
}

/** The table of buckets, what to expect of them, the notes and the result, for a terminal. */
export function formatBuckets(document: BucketDocument, { trt }: { readonly trt: boolean }): string {
  const { sizes, hints, advice = [], calibration, tensorrt, output, bytes, dryRun } = document
  const lines = [document.model]
  if (sizes !== undefined) {
    const { images, distinct, from } = sizes
    lines[0] += `: ${formatCount(images, 'image')} of ${formatCount(distinct, 'size')} in ${from}`
  }
  if (hints !== undefined) lines.push('', ...formatTable(bucketRows(hints)), '', ...formatExpected(hints))
  if (calibration !== undefined) lines.push(formatCalibration(calibration, hints))
  const notes = (document.passes ?? []).flatMap(({ pass, status, notes: own }) =>
    // The first note of `bucket` is what the table tells.
    status === 'applied' ? own.slice(pass === 'bucket' ? 1 : 0).map((note) => `${pass}: ${note}`) : [],
  )
  if (notes.length + advice.length > 0) lines.push('', ...notes, ...advice)
  if (trt) lines.push('', ...formatProfile(tensorrt ?? null))
  lines.push('', output !== null ? `wrote ${output} (${formatBytes(bytes ?? 0)})` : formatUnwritten(dryRun))
  return `${lines.join('\n')}\n`
}

function bucketRows({ buckets, expected }: BucketHints): string[][] {
  const rows = buckets.map(({ height, width, batch, tokens, images, padding }) => [
    `${height}x${width}`,
    `${batch}`,
    `${images ?? ''}`,
    `${tokens ?? ''}`,
    padding === undefined ? '' : percent(padding),
  ])
  const all = expected === undefined ? [] : [['all', '', `${expected.images}`, '', percent(expected.padding)]]
  return [['bucket', 'batch', 'images', 'tokens', 'padding'], ...rows, ...all]
}

function formatExpected({ expected }: BucketHints): string[] {
  if (expected === undefined) return []
  const { optimal, atMostAbove, overUnpadded, ofSingle } = expected
  return [
    optimal
      ? 'no other choice of so many buckets costs less'
      : `no other choice of so many buckets costs less by more than ${percent(atMostAbove)}`,
    `expected cost: ${overUnpadded.toFixed(2)} times that without padding, ${ofSingle.toFixed(2)} of that in one bucket`,
  ]
}

function formatCalibration({ cost, calls }: Calibration, hints: BucketHints | undefined): string {
  const [token, pair, call] = [cost.linear, cost.attention, cost.call].map((seconds) => formatSeconds(seconds))
  const total = hints?.expected === undefined ? '' : `; all images: ${formatSeconds(hints.expected.cost)}`
  return `measured on ${formatCount(calls.length, 'call')}: ${token} a token, ${pair} a pair of tokens, ${call} a call${total}`
}

/** `3.2 us`, `41 ms`, `2.5 s`. */
function formatSeconds(seconds: number): string {
  if (seconds === 0) return '0'
  const units = ['s', 'ms', 'us', 'ns']
  let [value, unit] = [seconds, 0]
  while (value < 1 && unit < units.length - 1) [value, unit] = [value * 1000, unit + 1]
  return `${value < 100 ? value.toPrecision(2) : Math.round(value)} ${units[unit]}`
}

function formatProfile(profile: TensorrtProfile | null): string[] {
  if (profile === null) return ['no TensorRT profile: an input has axes that are not known']
  return Object.entries(profile).map(([option, shapes]) => `${option}=${shapes}`)
}

function formatUnwritten(dryRun: boolean): string {
  return dryRun ? 'nothing written: dry run' : 'nothing written'
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
