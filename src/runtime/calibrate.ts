import { type CostModel, fitCost, type Size, type TimedCall, type Tokenizer, tokensOf } from '../batching/cost.ts'
import { VitpassError } from '../errors.ts'
import type { Feed, Session } from './session.ts'

/** What is to be fed. */
export interface CalibrationInputs {
  readonly pixels: string
  readonly channels: number
  /** The input for true sizes, [batch, 2] int64, where the model has one. */
  readonly sizes: string | null
}

export interface Calibration {
  /** In seconds. */
  readonly cost: CostModel
  readonly calls: readonly TimedCall[]
}

/** Sides of the sizes that are timed, as shares of the largest; the small ones with several images in a call too. */
const SHARES = [0.25, 0.35, 0.5, 0.7, 1]
const SEVERAL = 4
const SMALL = 2

/** No size that is timed has more patches: scores alone would take hundreds of megabytes. */
const MOST_PATCHES = 2048

/** Runs of a size: so many, or fewer once they took so long. No larger size is timed once a call took the longest. */
const RUNS = 7
const SECONDS = 1
const LONGEST = 2

/**
 * Times calls of a few sizes up to the largest and fits the cost model to them. The first run of each size is not counted, of the others
 * the fastest is: what else the machine does only adds to it.
 * @param largest the largest size to expect; or, with `fixed`, the only one that the model takes
 * @throws VitpassError RUNTIME_FAILED; MODEL_UNSUPPORTED where the model wants another input
 */
export async function calibrate(
  session: Session,
  inputs: CalibrationInputs,
  { tokenizer, largest, fixed }: { readonly tokenizer: Tokenizer; readonly largest: Size; readonly fixed: boolean },
  onStep: (text: string) => void = () => {},
): Promise<Calibration> {
  const other = session.inputs.find((name) => name !== inputs.pixels && name !== inputs.sizes)
  if (other !== undefined) {
    throw new VitpassError('MODEL_UNSUPPORTED', `input ${other} is not understood, so no call can be timed`, {
      remedy: 'leave out --calibrate',
    })
  }
  const sizes = fixed ? [largest] : sizesToTime(largest, tokenizer.patch)
  const calls: TimedCall[] = []
  for (const [at, size] of sizes.entries()) {
    const tokens = tokensOf(size, tokenizer)
    for (const images of at < SMALL ? [1, SEVERAL] : [1]) {
      onStep(`timing ${images} of ${size.height}x${size.width}`)
      calls.push({ images, tokens, seconds: await timeCall(session, makeFeeds(images, size, inputs)) })
    }
    if ((calls.at(-1)?.seconds ?? 0) > LONGEST) break
  }
  return { cost: fitCost(calls), calls }
}

function sizesToTime(largest: Size, patch: Size): Size[] {
  const rows = Math.ceil(largest.height / patch.height)
  const cols = Math.ceil(largest.width / patch.width)
  const shrink = Math.min(1, Math.sqrt(MOST_PATCHES / (rows * cols)))
  const part = (patches: number, share: number): number => Math.max(1, Math.round(patches * shrink * share))
  const sizes = SHARES.map((share) => ({
    height: part(rows, share) * patch.height,
    width: part(cols, share) * patch.width,
  }))
  return sizes.filter(({ height, width }, i) => height !== sizes[i - 1]?.height || width !== sizes[i - 1]?.width)
}

function makeFeeds(images: number, { height, width }: Size, { pixels, channels, sizes }: CalibrationInputs) {
  const dims = [images, channels, height, width]
  const data = new Float32Array(images * channels * height * width).map((_, i) => 1 + ((i * 31) % 7))
  const feeds: Record<string, Feed> = { [pixels]: { data, dims } }
  if (sizes !== null) {
    const own = BigInt64Array.from({ length: images * 2 }, (_, i) => BigInt(i % 2 === 0 ? height : width))
    feeds[sizes] = { data: own, dims: [images, 2] }
  }
  return feeds
}

/** Seconds that a call takes at best. */
async function timeCall(session: Session, feeds: Readonly<Record<string, Feed>>): Promise<number> {
  await session.run(feeds)
  const times: number[] = []
  for (let spent = 0; times.length < RUNS && (spent < SECONDS || times.length < 2); ) {
    const start = performance.now()
    await session.run(feeds)
    const seconds = (performance.now() - start) / 1000
    times.push(seconds)
    spent += seconds
  }
  return Math.min(...times)
}
