/**
 * Speed of transformed graphs against the original ones at the same size, without padding, on ONNX Runtime's CPU provider:
 *
 *     npx tsx bench/graph-speed.ts <model.onnx ...> [--size 224] [--batch 1] [--threads 1,2] [--rounds 40]
 *         [--passes mask,posenc,zero] [--json out.json]
 */
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { registry } from '../passes/index.ts'
import { readModel } from '../src/onnx/node.ts'
import { serializeModel } from '../src/onnx/serialize.ts'
import { runPasses } from '../src/pipeline/run.ts'
import { normals } from '../test/support/noise.ts'
import { OrtRunner } from '../test/support/ort.ts'
import { pixelInput } from '../test/support/scene.ts'
import { formatTable, writeResults } from './result-table.ts'
import { interleave, median, quantile } from './statistics.ts'

interface Row {
  readonly model: string
  readonly threads: number
  /** Medians, in milliseconds. */
  readonly original: number
  readonly transformed: number
  /** Median of transformed over median of original. */
  readonly ratio: number
  /** The same for a second session of the original: what the machine's noise alone does. */
  readonly control: number
  /** Quartiles of the ratio within each round. */
  readonly quartiles: readonly [number, number]
}

const WARMUP_ROUNDS = 3

async function timeModel(path: string, threads: number): Promise<Row> {
  const model = await readModel(path)
  runPasses(registry, model, passes)
  const channels = pixelChannels(model.graph.inputs[0]?.declaredDims?.[1])
  const next = normals(1)
  const dims = [batch, channels, size, size]
  const pixels = { data: Float32Array.from({ length: batch * channels * size * size }, next), dims }
  const runners = [
    await OrtRunner.open(path, threads),
    await OrtRunner.open(path, threads),
    await OrtRunner.open(serializeModel(model), threads),
  ]
  const contenders = runners.map((runner) => {
    const feeds = runner.prepare({ [pixelInput(runner)]: pixels })
    return async (): Promise<number> => {
      const start = performance.now()
      await runner.runPrepared(feeds)
      return performance.now() - start
    }
  })
  const [original = [], again = [], transformed = []] = await interleave(contenders, rounds, WARMUP_ROUNDS)
  for (const runner of runners) await runner.close()
  const paired = transformed.map((ms, i) => ms / (original[i] ?? Number.NaN))
  return {
    model: basename(path, '.onnx'),
    threads,
    original: median(original),
    transformed: median(transformed),
    ratio: median(transformed) / median(original),
    control: median(again) / median(original),
    quartiles: [quantile(paired, 0.25), quantile(paired, 0.75)],
  }
}

function pixelChannels(declared: number | string | null | undefined): number {
  return typeof declared === 'number' ? declared : 3
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '224' },
    batch: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1,2' },
    rounds: { type: 'string', default: '40' },
    passes: { type: 'string', default: 'mask,posenc,zero' },
    json: { type: 'string' },
  },
})
const size = Number(values.size)
const batch = Number(values.batch)
const rounds = Number(values.rounds)
const passes = values.passes.split(',')
const rows: Row[] = []
for (const path of positionals) {
  for (const threads of values.threads.split(',')) rows.push(await timeModel(path, Number(threads)))
}
console.log(`${batch} x ${size} x ${size} pixels, passes ${values.passes}, ${rounds} rounds; medians in ms`)
console.log(
  formatTable(
    ['model', 'threads', 'original', 'transformed', 'ratio', 'quartiles', 'control'],
    rows.map(({ model, threads, original, transformed, ratio, quartiles, control }) => [
      model,
      String(threads),
      original.toFixed(2),
      transformed.toFixed(2),
      ratio.toFixed(3),
      quartiles.map((quartile) => quartile.toFixed(3)).join(' to '),
      control.toFixed(3),
    ]),
  ),
)
writeResults(values.json, { bench: 'graph-speed', size, batch, rounds, passes: values.passes, rows })
