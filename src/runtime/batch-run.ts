import { VitpassError } from '../errors.ts'
import type { ArrayPool } from './array-pool.ts'
import type { Gate } from './gate.ts'
import type { Image } from './image.ts'
import type { Lanes } from './lanes.ts'
import type { Pace } from './pace.ts'
import type { Batch, Feeds, Strategy } from './strategy.ts'

/** What running batches needs; shared by all calls of an encoder. */
export interface Engine {
  readonly strategy: Strategy
  readonly lanes: Lanes
  readonly gate: Gate
  readonly pool: ArrayPool
  readonly pace: Pace
}

/** Images planned together: long lists are cut, so that planning never takes long. */
const PLANNED_TOGETHER = 2048

/** Where rows and failures go, by the image's place in the list. */
export interface Sink {
  put(place: number, row: Float32Array): void
  /** What it throws ends the whole, once everything begun is over. */
  fail(place: number, error: VitpassError): void
}

/**
 * Encodes images, the largest batches first, as many at once as the gate lets in. Where a batch fails, its images are run one by one, so
 * that only those fail that fail alone.
 * @throws VitpassError what the sink throws; RUNTIME_FAILED where the threads have ended
 */
export async function runImages(engine: Engine, images: readonly Image[], sink: Sink): Promise<void> {
  const { strategy, gate, pace, pool } = engine
  const begun: Promise<void>[] = []
  let stopped = false
  let wide: boolean | null = null
  for (const { batch, together } of planAll(strategy, images)) {
    // Long lists have batches enough for every lane.
    wide ??= images.length <= PLANNED_TOGETHER && engine.lanes.prefersWide(together)
    const bytes = bytesOf(batch, images)
    await gate.enter(bytes)
    if (stopped) {
      gate.leave(bytes)
      break
    }
    // Making the inputs is waited for, running them is not.
    const feeds = await settle(pace.drive(strategy.feeds(batch, images, pool.allocate)))
    const run = finish(engine, batch, images, feeds, wide, sink).finally(() => gate.leave(bytes))
    begun.push(run)
    run.catch(() => {
      stopped = true
    })
  }
  const failed = (await Promise.allSettled(begun)).find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

type Settled<T> = { readonly value: T } | { readonly error: unknown }

function settle<T>(promise: Promise<T>): Promise<Settled<T>> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
}

interface Planned {
  readonly batch: Batch
  /** Tokens of every batch that was planned with it. */
  readonly together: readonly number[]
}

function* planAll(strategy: Strategy, images: readonly Image[]): Generator<Planned, void, undefined> {
  for (let from = 0; from < images.length; from += PLANNED_TOGETHER) {
    const batches = strategy.plan(images.slice(from, from + PLANNED_TOGETHER))
    const together = batches.map(({ tokens }) => tokens)
    for (const batch of batches.toSorted((a, b) => b.tokens - a.tokens)) {
      yield { batch: { ...batch, members: batch.members.map((member) => member + from) }, together }
    }
  }
}

function bytesOf({ members, height, width }: Batch, images: readonly Image[]): number {
  return 4 * members.length * height * width * (images[members[0] ?? 0]?.channels ?? 0)
}

async function finish(
  engine: Engine,
  batch: Batch,
  images: readonly Image[],
  feeds: Settled<Feeds>,
  wide: boolean,
  sink: Sink,
): Promise<void> {
  const rows = await settle('value' in feeds ? execute(engine, batch, feeds.value, wide) : Promise.reject(feeds.error))
  if ('value' in rows) {
    for (const [i, row] of rows.value.entries()) sink.put(batch.members[i] ?? -1, row)
    return
  }
  if (!(rows.error instanceof VitpassError) || !engine.lanes.alive) throw rows.error
  const [member = -1, ...others] = batch.members
  if (others.length === 0) return sink.fail(member, rows.error)
  for (const single of batch.members) {
    for (const alone of engine.strategy.plan(images.slice(single, single + 1))) {
      const part = { ...alone, members: [single] }
      const made = await settle(engine.pace.drive(engine.strategy.feeds(part, images, engine.pool.allocate)))
      await finish(engine, part, images, made, wide, sink)
    }
  }
}

async function execute(
  { strategy, lanes, pool }: Engine,
  batch: Batch,
  feeds: Feeds,
  wide: boolean,
): Promise<Float32Array[]> {
  const { outputs, buffers } = await lanes.run(feeds, strategy.outputs, batch.tokens, wide)
  for (const buffer of buffers) pool.release(buffer)
  return strategy.rows(outputs, batch).map((row) => row.slice())
}
