import { VitpassError } from '../errors.ts'
import { toFloat16Bits } from '../ir/float-bits.ts'
import { ArrayPool } from './array-pool.ts'
import { type Image, sizeText } from './image.ts'
import type { NativeContract } from './native-contract.ts'
import { type Call, callOf, isPictures, nativeFeeds } from './native-feeds.ts'
import { type Grid, gridOf } from './native-grid.ts'
import type { NativeRows } from './native-rows.ts'
import type { Feeds, Outputs } from './strategy.ts'

/** Largest difference, beside outputs of order 1, that the company of another image may make. */
const TOLERANCE = 1e-4
/** The same for models of half floats: their rounding alone comes close. */
const HALF_TOLERANCE = 1e-2
/** Differences up to here may come from 8-bit scales that follow all of a batch. */
const ROUGH = 0.1
/** Below this share of an output, answers are the same but for the order of summing. */
const SAME = 1e-7

const REMEDY =
  'export the model again so that it takes the sizes as they come; fixtures/export/native_make.py shows how'

export interface CheckOptions {
  /** Whether images ever run together. */
  readonly company: boolean
  /** Whether the model computes in half floats. */
  readonly halves: boolean
}

/**
 * Runs two unequal images together and each alone, one image with something in its padding, and one image's patches on two grids: inputs
 * are there even when an exporter has baked what they hold, and only the answers show it.
 *
 * @throws VitpassError MODEL_UNSUPPORTED where an image answers otherwise in company or for what is in its padding (masks or sizes are
 * baked or ignored), where the grid makes no difference, or where the model does not run on such images
 */
export async function checkNative(
  contract: NativeContract,
  rows: NativeRows,
  { company, halves }: CheckOptions,
  run: (feeds: Feeds) => Promise<Outputs>,
): Promise<void> {
  const pool = new ArrayPool(0)
  const ask = async (call: Call, change = (feeds: Feeds): Feeds => feeds): Promise<Float32Array[]> => {
    const making = nativeFeeds(call, contract, pool.allocate)
    let step = making.next()
    while (step.done !== true) step = making.next()
    let outputs: Outputs
    try {
      outputs = await run(change(step.value))
    } catch (cause) {
      const what = [...new Set(call.images.map(sizeText))].join(' and ')
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new VitpassError('MODEL_UNSUPPORTED', `it does not run on images of ${what}: ${why}`, {
        remedy: `${REMEDY}; where a pack or batch of several fails, batchTokens 1 runs images one by one`,
        cause,
      })
    }
    return rows.divide(outputs, call).map((row) => row.slice())
  }
  const answer = (...images: readonly Image[]): Promise<Float32Array[]> =>
    ask(callOf({ members: images.map((_, i) => i) }, images, contract))
  const [wide, tall] = [
    picture(limited(contract, { rows: 2, cols: 3 }), contract, 1),
    picture(limited(contract, { rows: 3, cols: 1 }), contract, 2),
  ]
  const [first] = await answer(wide)
  const [second] = await answer(tall)
  const allowed = halves ? HALF_TOLERANCE : TOLERANCE
  if (company) {
    const together = await answer(wide, tall)
    const found = Math.max(distance(first, together[0]), distance(second, together[1]))
    if (!(found <= allowed)) throw disturbed(found)
  }
  if (contract.length !== null || isPictures(contract)) {
    const call = callOf({ members: [0] }, [wide], contract)
    const canvas = { rows: call.canvas.rows + contract.merge, cols: call.canvas.cols + contract.merge }
    const [smeared] = await ask({ ...call, canvas }, (feeds) => smear(feeds, contract))
    const found = distance(first, smeared)
    if (!(found <= allowed)) throw heeded(found)
  }
  const other = isPictures(contract) || contract.metadata?.positionless === true ? null : regridded(wide, contract)
  if (other === null) return
  const [turned] = await answer(other)
  if (distance(first, turned) <= SAME) {
    throw new VitpassError(
      'MODEL_UNSUPPORTED',
      'the grid of patches makes no difference to its answer, so the grid of the export is baked',
      {
        remedy: `${REMEDY}; if the model has no positions, say "positions": "none" in its metadata`,
      },
    )
  }
}

function disturbed(found: number): VitpassError {
  const why =
    found <= ROUGH
      ? 'a quantised model whose scales follow the whole batch does so, and one that ignores sizes or masks'
      : 'what tells images apart is baked into the model, or ignored'
  return new VitpassError(
    'MODEL_UNSUPPORTED',
    `an image answers otherwise beside another than alone, by ${found.toPrecision(2)} of its size: ${why}`,
    { remedy: found <= ROUGH ? `set batchTokens to 1, so that images run one by one, or ${REMEDY}` : REMEDY },
  )
}

function heeded(found: number): VitpassError {
  return new VitpassError(
    'MODEL_UNSUPPORTED',
    `what lies in the padding behind an image changes its answer, by ${found.toPrecision(2)} of its size: its mask or size is baked into the model, or ignored`,
    { remedy: REMEDY },
  )
}

/** Puts values into the padding of pixels, where all is 0. */
function smear(feeds: Feeds, { pixels }: NativeContract): Feeds {
  const tensor = feeds[pixels.name]
  if (tensor === undefined || tensor.type === 'int64') return feeds
  const padding = tensor.type === 'float16' ? toFloat16Bits(0.75) : 0.75
  for (let i = 0; i < tensor.data.length; i++) if (tensor.data[i] === 0) tensor.data[i] = padding
  return feeds
}

/** A grid of blocks no larger than the model has positions for. */
function limited({ maxGrid, merge, length }: NativeContract, { rows, cols }: Grid): Grid {
  const least = Math.min(rows, Math.floor((maxGrid?.rows ?? Number.POSITIVE_INFINITY) / merge))
  const across = Math.min(cols, Math.floor((maxGrid?.cols ?? Number.POSITIVE_INFINITY) / merge))
  const blocks = (length ?? Number.POSITIVE_INFINITY) / merge ** 2
  return { rows: Math.min(least, blocks), cols: Math.min(across, Math.max(1, Math.floor(blocks / least))) }
}

/** An image of so many blocks, its pixels spread evenly over -1 to 1. */
function picture({ rows, cols }: Grid, { patch, merge, channels }: NativeContract, seed: number): Image {
  const [height, width] = [rows * merge * patch.height, cols * merge * patch.width]
  const data = new Float32Array(channels * height * width)
  let state = seed
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[i] = state / 2 ** 31 - 1
  }
  return { data, channels, height, width }
}

/** The same blocks in the same order, on a grid with rows and columns exchanged; null where the model has no place for that. */
function regridded(image: Image, contract: NativeContract): Image | null {
  const { patch, merge, channels, maxGrid } = contract
  const side = { height: patch.height * merge, width: patch.width * merge }
  const { rows, cols } = gridOf(image, contract)
  const turned = { rows: cols / merge, cols: rows / merge }
  if (rows === cols || cols > (maxGrid?.rows ?? cols) || rows > (maxGrid?.cols ?? rows)) return null
  const [height, width] = [turned.rows * side.height, turned.cols * side.width]
  const data = new Float32Array(channels * height * width)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const block = Math.floor(y / side.height) * turned.cols + Math.floor(x / side.width)
      const fromY = Math.floor(block / turned.rows) * side.height + (y % side.height)
      const fromX = (block % turned.rows) * side.width + (x % side.width)
      for (let c = 0; c < channels; c++) {
        data[(c * height + y) * width + x] = image.data[(c * image.height + fromY) * image.width + fromX] ?? 0
      }
    }
  }
  return { data, channels, height, width }
}

/** Largest difference of two rows, as a share of the first one's largest value where that is above 1. */
function distance(a: Float32Array | undefined, b: Float32Array | undefined): number {
  if (a === undefined || b === undefined || a.length !== b.length) return Number.POSITIVE_INFINITY
  let worst = 0
  let scale = 1
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] ?? 0) - (b[i] ?? 0))
    // Written so that NaN counts as far.
    if (!(difference <= worst)) worst = difference
    scale = Math.max(scale, Math.abs(a[i] ?? 0))
  }
  return worst / scale
}
