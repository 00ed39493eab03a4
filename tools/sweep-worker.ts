import { VitpassError } from '../src/errors.ts'
import { type GoldenCase, loadCase } from '../test/support/cases.ts'
import type { Measured } from '../test/support/measure.ts'
import type { Masking } from '../test/support/properties.ts'
import { MASKINGS, transformAndCheck } from '../test/support/transform.ts'

/** One export to sweep, by the `file` of its entry in case.json. */
export interface Job {
  readonly root: string
  readonly caseName: string
  readonly file: string
  readonly passes: readonly string[]
}

/** What became of an export under one way of masking. */
export interface Outcome {
  readonly masking: Masking
  readonly status: 'ok' | 'WRONG' | 'refused' | 'failed'
  readonly measured: readonly Measured[]
  /** Why it was refused or failed, with pass and node. */
  readonly reason: string
}

const cases = new Map<string, GoldenCase>()

async function sweepOne(job: Job): Promise<Outcome[]> {
  const goldenCase = cases.get(job.caseName) ?? loadCase(job.root, job.caseName)
  cases.set(job.caseName, goldenCase)
  const entry = goldenCase.models.find(({ file }) => file === job.file)
  if (entry === undefined) throw new Error(`case ${job.caseName} has no export ${job.file}`)
  const outcomes: Outcome[] = []
  for (const masking of MASKINGS) {
    try {
      const measured = await transformAndCheck(goldenCase, entry, job.passes, masking)
      outcomes.push({ masking, status: measured.every(({ ok }) => ok) ? 'ok' : 'WRONG', measured, reason: '' })
    } catch (error) {
      outcomes.push({ masking, measured: [], ...explain(error) })
    }
  }
  return outcomes
}

function explain(error: unknown): { status: 'refused' | 'failed'; reason: string } {
  if (error instanceof VitpassError) {
    const refused = error.code === 'PASS_REFUSED' || error.code === 'MODEL_UNSUPPORTED'
    return { status: refused ? 'refused' : 'failed', reason: `${error.code} ${error.line()}` }
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { status: 'failed', reason: stack.split('\n').slice(0, 4).join(' ').replaceAll(/\s+/g, ' ') }
}

process.on('message', (job: Job) => {
  sweepOne(job).then(
    (outcomes) => process.send?.(outcomes),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`)
      process.exit(1)
    },
  )
})
