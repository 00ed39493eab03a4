/**
 * The built command line as a whole process against loading and saving alone in Python's onnx:
 *
 *     npm run build
 *     npx tsx bench/run-speed.ts <model.onnx> --python <interpreter with bench/peers/requirements.txt> [--rounds 7]
 *         [--passes mask,posenc,zero] [--json out.json]
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { formatTable, writeResults } from './result-table.ts'
import { interleave, median } from './statistics.ts'

/** Wall and processor time in seconds, and peak resident memory in bytes, of one process. */
interface Sample {
  readonly seconds: number
  readonly processor: number
  readonly peak: number
}

const ROOT = resolve(import.meta.dirname, '..')
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    python: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '7' },
    passes: { type: 'string', default: 'mask,posenc,zero' },
    json: { type: 'string' },
  },
})
const [given] = positionals
if (given === undefined) throw new Error('usage: npx tsx bench/run-speed.ts <model.onnx> --python <interpreter>')
const model = resolve(given)
const rounds = Number(values.rounds)
const folder = mkdtempSync(join(tmpdir(), 'vitpass-bench-'))

async function measureProcess(command: readonly string[]): Promise<Sample> {
  const done = spawnSync(values.python, [join(ROOT, 'bench', 'measure_process.py'), ...command], { encoding: 'utf8' })
  if (done.error !== undefined || done.status !== 0) throw done.error ?? new Error(done.stderr)
  const { status, ...sample }: Sample & { status: number } = JSON.parse(done.stdout)
  if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}: ${done.stderr}`)
  return sample
}

/** A fresh output for every run, so that none pays for truncating another's. */
async function withOutput(use: (output: string) => Promise<Sample>): Promise<Sample> {
  const output = join(folder, 'out.onnx')
  try {
    return await use(output)
  } finally {
    for (const file of [output, `${output}.data`]) rmSync(file, { force: true })
  }
}

const main = join(ROOT, 'dist', 'src', 'cli', 'main.js')
const contenders = {
  'vitpass run': () =>
    withOutput((output) =>
      measureProcess([process.execPath, main, 'run', model, '--passes', values.passes, '-o', output]),
    ),
  'onnx load and save': () =>
    withOutput((output) =>
      measureProcess([values.python, join(ROOT, 'bench', 'peers', 'onnx_load_save.py'), model, output]),
    ),
  'vitpass --help': () => measureProcess([process.execPath, main, '--help']),
}
try {
  const samples = await interleave(Object.values(contenders), rounds, 1)
  const rows = Object.keys(contenders).map((name, i) => {
    const own = samples[i] ?? []
    const middle = (key: keyof Sample): number => median(own.map((each) => each[key]))
    return { name, seconds: middle('seconds'), processor: middle('processor'), peak: middle('peak') }
  })
  const [ours, peer] = rows
  if (ours === undefined || peer === undefined) throw new Error('nothing was measured')
  const ratio = {
    seconds: peer.seconds / ours.seconds,
    processor: peer.processor / ours.processor,
    peak: peer.peak / ours.peak,
  }
  console.log(
    `${basename(model)}, ${(statSync(model).size / 1e6).toFixed(1)} MB, passes ${values.passes}, ${rounds} rounds; medians`,
  )
  console.log(
    formatTable(
      ['process', 'seconds', 'processor', 'peak MB'],
      rows.map(({ name, seconds, processor, peak }) => [
        name,
        seconds.toFixed(3),
        processor.toFixed(3),
        (peak / 1e6).toFixed(0),
      ]),
    ),
  )
  const [faster, leaner, smaller] = [ratio.seconds, ratio.processor, ratio.peak].map((times) => times.toFixed(2))
  console.log(`vitpass run: ${faster} times faster, ${leaner} times less processor time, ${smaller} times less memory`)
  writeResults(values.json, { bench: 'run-speed', model: basename(model), passes: values.passes, rounds, rows, ratio })
} finally {
  rmSync(folder, { recursive: true })
}
