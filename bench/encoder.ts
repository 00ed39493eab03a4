/**
 * Speed of the batch encoder on images of mixed sizes, against what people write by hand, on ONNX Runtime's CPU provider:
 *
 *     npx tsx bench/encoder.ts <model.onnx> [--workers 2] [--rounds 7] [--photos 64] [--words 256] [--max-padding 0.1]
 *         [--batch-tokens 1536] [--python <interpreter with torch and transformers>] [--json out.json]
 *
 * The model is an untouched export [batch, channels, height, width] that interpolates positions. The encoder runs it transformed.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { registry } from '../passes/index.ts'
import { readModel, writeModel } from '../src/onnx/node.ts'
import { runPasses } from '../src/pipeline/run.ts'
import { type Image, ImageEncoder, Session } from '../src/runtime/index.ts'
import { normals } from '../test/support/noise.ts'
import { MatmulBound, usefulFlops } from './matmul-bound.ts'
import { formatTable, writeResults } from './result-table.ts'
import { interleave, median, quantile } from './statistics.ts'
import { TorchPeer } from './torch-peer.ts'

const PATCH = 16

/** Sizes of photos: long side 160 to 384, four aspect ratios, upright and lying, in whole patches, so that many share a size. */
function photoSizes(count: number, next: () => number): { height: number; width: number }[] {
  const ratios = [1, 3 / 4, 2 / 3, 9 / 16]
  return Array.from({ length: count }, () => {
    const long = 160 + PATCH * Math.floor(next() * 15)
    const short = PATCH * Math.round((long * (ratios[Math.floor(next() * 4)] ?? 1)) / PATCH)
    return next() < 0.5 ? { height: long, width: short } : { height: short, width: long }
  })
}

/** Sizes of rendered words: 32 pixels high, 32 to 320 wide. */
function wordSizes(count: number, next: () => number): { height: number; width: number }[] {
  return Array.from({ length: count }, () => ({ height: 32, width: 32 + PATCH * Math.floor(next() * 19) }))
}

function uniform(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function draw(sizes: readonly { height: number; width: number }[]): Image[] {
  const next = normals(1)
  return sizes.map(({ height, width }) => {
    return { data: Float32Array.from({ length: 3 * height * width }, next), channels: 3, height, width }
  })
}

/** What one writes by hand: images of equal size stacked, one call of the original for each size. */
async function runGrouped(session: Session, input: string, images: readonly Image[]): Promise<void> {
  const groups = new Map<string, Image[]>()
  for (const image of images) {
    const key = `${image.height}x${image.width}`
    groups.set(key, [...(groups.get(key) ?? []), image])
  }
  for (const group of groups.values()) {
    const [first] = group
    if (first === undefined) continue
    const data = new Float32Array(group.length * first.data.length)
    for (const [i, image] of group.entries()) data.set(image.data, i * first.data.length)
    await session.runHost(
      { [input]: { type: 'float32', data, dims: [group.length, 3, first.height, first.width] } },
      outputs,
    )
  }
}

async function runSingly(session: Session, input: string, images: readonly Image[]): Promise<void> {
  for (const { data, height, width } of images) {
    await session.runHost({ [input]: { type: 'float32', data, dims: [1, 3, height, width] } }, outputs)
  }
}

function tokensOf({ height, width }: Image): number {
  return 1 + Math.floor(height / PATCH) * Math.floor(width / PATCH)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Longest time in milliseconds for which the event loop stood still during some work. */
async function longestStall(work: () => Promise<unknown>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await work()
  delay.disable()
  return delay.max / 1e6
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    workers: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '7' },
    photos: { type: 'string', default: '64' },
    words: { type: 'string', default: '256' },
    'max-padding': { type: 'string' },
    'batch-tokens': { type: 'string' },
    python: { type: 'string' },
    json: { type: 'string' },
  },
})
const [path] = positionals
if (path === undefined) throw new Error('give a model')
const rounds = Number(values.rounds)
const folder = mkdtempSync(join(tmpdir(), 'vitpass-bench-'))
const transformed = join(folder, 'model.onnx')
const model = await readModel(path)
runPasses(registry, model, ['padproof'])
await writeModel(model, transformed)
const outputs = [
  model.graph.outputs.find(({ name }) => name === 'pooler_output')?.name ?? model.graph.outputs[0]?.name ?? '',
]

const original = await Session.open(path, { threads: availableParallelism() })
const [input = ''] = original.inputs
const shared = {
  workers: Number(values.workers),
  deduplicate: false,
  ...(values['max-padding'] === undefined ? {} : { maxPadding: Number(values['max-padding']) }),
  ...(values['batch-tokens'] === undefined ? {} : { batchTokens: Number(values['batch-tokens']) }),
}
const encoder = await ImageEncoder.open(transformed, shared)
const regrouped = await ImageEncoder.open(path, shared)
console.log(`${encoder.workers} workers; ${encoder.strategy.why}; against ${regrouped.strategy.kind}`)

const hidden = (await encoder.encode([])).dims[1] ?? 192
const bound = await MatmulBound.open(hidden, encoder.workers)

const sets = [
  { name: 'photos', images: draw(photoSizes(Number(values.photos), uniform(1))) },
  { name: 'words', images: draw(wordSizes(Number(values.words), uniform(2))) },
  { name: 'one photo', images: draw([{ height: 224, width: 224 }]) },
  { name: 'three photos', images: draw([0, 1, 2].map(() => ({ height: 224, width: 224 }))) },
].filter(({ images }) => images.length > 0)
const rows = []
for (const { name, images } of sets) {
  const torch = values.python === undefined ? null : new TorchPeer(values.python, images)
  const contenders = [
    () => timed(() => encoder.encode(images)),
    () => timed(() => regrouped.encode(images)),
    () => timed(() => runGrouped(original, input, images)),
    () => timed(() => runSingly(original, input, images)),
    () => timed(() => bound.run()),
    ...(torch === null ? [] : [() => torch.run()]),
  ]
  const [ours = [], oursGrouped = [], grouped = [], singly = [], matmul = [], torchGrouped] = await interleave(
    contenders,
    rounds,
    1,
  )
  await torch?.close()
  const paired = ours.map((ms, i) => ms / (grouped[i] ?? Number.NaN))
  rows.push({
    set: name,
    images: images.length,
    ours: median(ours),
    grouped: median(grouped),
    singly: median(singly),
    toGrouped: median(ours) / median(grouped),
    quartiles: [quantile(paired, 0.25), quantile(paired, 0.75)],
    toSingly: median(ours) / median(singly),
    oursGroupedToGrouped: median(oursGrouped) / median(grouped),
    // How long matrix products alone would take for the tokens that count, over how long all took.
    ofBound: (usefulFlops(model, hidden, images.map(tokensOf)) / bound.flops) * (median(matmul) / median(ours)),
    toTorch: torchGrouped === undefined ? null : median(ours) / median(torchGrouped),
    stall: await longestStall(() => encoder.encode(images)),
  })
}
await Promise.all([encoder.close(), regrouped.close(), original.close(), bound.close()])
rmSync(folder, { recursive: true })
console.log(
  formatTable(
    [
      'set',
      'images',
      'ours ms',
      'grouped',
      'one by one',
      'ours/grouped',
      'quartiles',
      'ours/one by one',
      'strategy grouped/grouped',
      'of matmul bound',
      'ours/torch grouped',
      'stall ms',
    ],
    rows.map((row) => [
      row.set,
      String(row.images),
      row.ours.toFixed(0),
      row.grouped.toFixed(0),
      row.singly.toFixed(0),
      row.toGrouped.toFixed(3),
      row.quartiles.map((value) => value.toFixed(3)).join(' to '),
      row.toSingly.toFixed(3),
      row.oursGroupedToGrouped.toFixed(3),
      row.ofBound.toFixed(3),
      row.toTorch?.toFixed(3) ?? '',
      row.stall.toFixed(1),
    ]),
  ),
)
writeResults(values.json, { bench: 'encoder', rounds, rows })
