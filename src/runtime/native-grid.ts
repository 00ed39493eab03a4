import type { Image, Size } from './image.ts'
import type { NativeContract } from './native-contract.ts'

/** Rows and columns of patches. */
export interface Grid {
  readonly rows: number
  readonly cols: number
}

/** The whole patches of an image; where the model merges patches, whole blocks of them. The rest is cut off. */
export function gridOf({ height, width }: Size, { patch, merge }: NativeContract): Grid {
  return {
    rows: Math.floor(height / (patch.height * merge)) * merge,
    cols: Math.floor(width / (patch.width * merge)) * merge,
  }
}

/** Why an image of this size has no place in the model; null where it has. A grid beyond the positions fails a whole batch in ONNX Runtime. */
export function refusesGrid(size: Size, contract: NativeContract): string | null {
  const { patch, merge, maxGrid, length } = contract
  const { rows, cols } = gridOf(size, contract)
  if (rows === 0 || cols === 0) {
    const block = merge === 1 ? 'a patch' : `a block of ${merge}x${merge} patches,`
    return `it is smaller than ${block}${merge === 1 ? ' of' : ''} ${patch.height * merge}x${patch.width * merge}`
  }
  if (maxGrid !== null && (rows > maxGrid.rows || cols > maxGrid.cols))
    return `its ${rows}x${cols} patches are more than the ${maxGrid.rows}x${maxGrid.cols} that the model has positions for`
  if (length !== null && rows * cols > length)
    return `its ${rows * cols} patches are more than the ${length} that the model takes`
  return null
}

/** Where in its image's sequence the patch at a row and a column stands: row-major, or in blocks of merged patches, row-major too. */
function placeOf(row: number, col: number, { cols }: Grid, block: number): number {
  if (block === 1) return row * cols + col
  const before = Math.floor(row / block) * (cols / block) + Math.floor(col / block)
  return (before * block + (row % block)) * block + (col % block)
}

/** Values copied between two chances for the event loop to turn. */
const SLICE = 1 << 17

/**
 * Writes an image's patches one after another from `base` on: inside each (row, column, channel), or (channel, frame, row, column) for
 * `chw`. It yields between slices.
 */
export function* writePatches(
  image: Image,
  contract: NativeContract,
  target: Float32Array,
  base: number,
): Generator<undefined, void, undefined> {
  const { patch, channels, frames, order, merge, layout } = contract
  const grid = gridOf(image, contract)
  const size = frames * patch.height * patch.width * channels
  const block = layout === 'grid-thw' ? merge : 1
  const step = order === 'hwc' ? channels : 1
  let copied = 0
  for (let y = 0; y < grid.rows * patch.height; y++) {
    const row = Math.floor(y / patch.height)
    const inner = y % patch.height
    for (let channel = 0; channel < channels; channel++) {
      for (let frame = 0; frame < frames; frame++) {
        const offset =
          order === 'hwc'
            ? (frame * patch.height + inner) * patch.width * channels + channel
            : ((channel * frames + frame) * patch.height + inner) * patch.width
        let from = (channel * image.height + y) * image.width
        for (let col = 0; col < grid.cols; col++) {
          let to = base + placeOf(row, col, grid, block) * size + offset
          for (let x = 0; x < patch.width; x++, to += step) target[to] = image.data[from++] ?? 0
        }
      }
    }
    copied += grid.cols * patch.width * channels * frames
    if (copied < SLICE) continue
    copied = 0
    yield
  }
}
