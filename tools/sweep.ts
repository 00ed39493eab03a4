/**
 * Transforms every export under a folder that is laid out like this repository (`golden/`, `fixtures/`) and measures each:
 *
 *     npx tsx tools/sweep.ts <folder> [--filter regex] [--passes mask,posenc,zero] [--json out.json] [--jobs 2]
 *
 * One line a model: ok, WRONG with the property and its worst difference, refused with the reason, failed with the error,
 * or crashed where the process died. Exit code 1 where anything but ok or refused was met.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { caseNames, loadCase } from '../test/support/cases.ts'
import { describeMeasured } from '../test/support/measure.ts'
import type { Job, Outcome } from './sweep-worker.ts'

/** A model that takes longer than this is stopped and reported as crashed. */
const PATIENCE_MS = 300_000

interface Task {
  readonly title: string
  readonly job: Job
}

interface Result {
  readonly title: string
  readonly status: Outcome['status'] | 'crashed'
  readonly outcomes: readonly Outcome[]
  /** Why the process ended, where it did. */
  readonly reason: string
  readonly seconds: number
}

/** Runs tasks in one child process after another: a new one whenever the last has died. */
class Lane {
  #child: ChildProcess | undefined

  run({ title, job }: Task): Promise<Result> {
    const start = performance.now()
    this.#child ??= fork(join(import.meta.dirname, 'sweep-worker.ts'), { serialization: 'advanced', silent: true })
    const child = this.#child
    let said = ''
    const onText = (text: Buffer): void => {
      said = (said + text.toString()).slice(-4000)
    }
    return new Promise((done) => {
      const finish = (status: Result['status'], outcomes: readonly Outcome[], reason = ''): void => {
        clearTimeout(timer)
        child.off('message', onMessage).off('close', onClose).stderr?.off('data', onText)
        done({ title, status, outcomes, reason, seconds: (performance.now() - start) / 1000 })
      }
      const onMessage = (message: unknown): void => {
        const outcomes = message as Outcome[] // the only thing that the worker sends
        finish(worstStatus(outcomes), outcomes)
      }
      const onClose = (code: number | null, signal: string | null): void => {
        this.#child = undefined
        const error = said.split('\n').findLast((line) => /error/i.test(line)) ?? said.trim()
        finish('crashed', [], `the process ended with ${signal ?? `exit code ${code}`}: ${error.slice(0, 300)}`)
      }
      const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
      child.on('message', onMessage).on('close', onClose)
      child.stderr?.on('data', onText)
      child.send(job)
    })
  }

  close(): void {
    this.#child?.kill()
  }
}

function worstStatus(outcomes: readonly Outcome[]): Outcome['status'] {
  const order = ['failed', 'WRONG', 'refused'] as const
  return order.find((status) => outcomes.some((outcome) => outcome.status === status)) ?? 'ok'
}

function formatResult(result: Result): string {
  const head = `${result.status.padEnd(8)} ${result.title.padEnd(58)} ${result.seconds.toFixed(2)} s`
  if (result.status === 'ok') {
    const all = result.outcomes.flatMap(({ measured }) => measured)
    const worst = (name: string): string =>
      Math.max(...all.filter((each) => each.name === name).map((each) => each.worst)).toExponential(1)
    return `${head}  golden ${worst('golden')}, padding ${worst('more padding')}, original ${worst('original')}`
  }
  if (result.status === 'crashed') return `${head}\n         ${result.reason}`
  const lines = result.outcomes.filter(({ status }) => status !== 'ok').map(formatOutcome)
  const shared = lines.length === result.outcomes.length && new Set(lines.map(({ what }) => what)).size === 1
  const shown = shared ? lines.slice(0, 1).map(({ what }) => what) : lines.map(({ how, what }) => `${how}: ${what}`)
  return [head, ...shown.map((line) => `         ${line}`)].join('\n')
}

function formatOutcome({ masking, measured, reason }: Outcome): { how: string; what: string } {
  const wrong = measured.filter(({ ok }) => !ok).map(describeMeasured)
  return { how: `${masking.source}/${masking.mode}`, what: reason === '' ? wrong.join('\n           ') : reason }
}

function collectTasks(root: string, filter: RegExp, passes: readonly string[]): Task[] {
  return caseNames(root).flatMap((caseName) =>
    loadCase(root, caseName).models.flatMap(({ file }) => {
      const title = `${caseName}/${basename(file, '.onnx')}`
      return filter.test(title) ? [{ title, job: { root, caseName, file, passes } }] : []
    }),
  )
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    filter: { type: 'string', default: '' },
    passes: { type: 'string', default: 'mask,posenc,zero' },
    json: { type: 'string' },
    jobs: { type: 'string', default: '2' },
  },
})
const root = resolve(positionals[0] ?? '.')
const tasks = collectTasks(root, new RegExp(values.filter), values.passes.split(','))
const results: Result[] = []
const start = performance.now()
const lanes = Array.from({ length: Number(values.jobs) }, () => new Lane())
const queue = tasks.values()
await Promise.all(
  lanes.map(async (lane) => {
    for (const task of queue) {
      const result = await lane.run(task)
      results.push(result)
      console.log(formatResult(result))
    }
    lane.close()
  }),
)
const summary = (['ok', 'WRONG', 'refused', 'failed', 'crashed'] as const)
  .map((status) => `${results.filter((result) => result.status === status).length} ${status}`)
  .join(', ')
console.log(`${results.length} models: ${summary}; ${((performance.now() - start) / 1000).toFixed(1)} s`)
if (values.json !== undefined) {
  const sorted = results.toSorted((a, b) => a.title.localeCompare(b.title))
  const finite = (_: string, value: unknown): unknown => (value === Number.POSITIVE_INFINITY ? 'infinite' : value)
  writeFileSync(values.json, `${JSON.stringify({ passes: values.passes, results: sorted }, finite, 1)}\n`)
}
process.exitCode = results.every(({ status }) => status === 'ok' || status === 'refused') && results.length > 0 ? 0 : 1
