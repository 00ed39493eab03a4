import { VitpassError } from '../errors.ts'
import type { ImageError } from './check-image.ts'
import type { Image } from './image.ts'

/** Height and width of one image after the other, in pixels. */
export type PaddedSizes = ArrayLike<number> | ArrayLike<bigint>

/** Images cut out of padding: null where absent, or where the size is impossible. */
interface Cropped {
  readonly images: (Image | null)[]
  readonly problems: ImageError[]
}

/**
 * Cuts the images out of [..., channels, height, width], each at the upper left of its place; it yields after each.
 * @throws VitpassError USAGE where data, dims and sizes do not fit each other
 */
export function* cropAll(
  data: Float32Array,
  dims: readonly number[],
  sizes: PaddedSizes,
): Generator<undefined, Cropped, undefined> {
  const [channels = 0, height = 0, width = 0] = dims.slice(-3)
  const count = dims.slice(0, -3).reduce((n, dim) => n * dim, 1)
  if ((dims.length !== 4 && dims.length !== 5) || data.length !== count * channels * height * width) {
    throw usage(
      `${data.length} numbers do not make up [${dims.join(', ')}]`,
      'give [n, channels, height, width] or [lists, longest, channels, height, width]',
    )
  }
  if (sizes.length !== 2 * count) {
    throw usage(
      `there are ${sizes.length} lengths for ${count} images`,
      'give height and width of each, one pair after the other',
    )
  }
  const images: (Image | null)[] = []
  const problems: ImageError[] = []
  for (let i = 0; i < count; i++) {
    const own = { height: Number(sizes[2 * i]), width: Number(sizes[2 * i + 1]) }
    const problem = problemOf(own, height, width)
    if (problem !== null) {
      const error = new VitpassError('BAD_IMAGE', problem, {
        remedy: 'give its true height and width; 0 and 0 where it is absent',
      })
      problems.push({ index: i, error })
    }
    const absent = problem !== null || own.height === 0
    images.push(absent ? null : crop(data, i * channels * height * width, { channels, height, width }, own))
    yield
  }
  return { images, problems }
}

function problemOf(own: { height: number; width: number }, height: number, width: number): string | null {
  const isLength = (length: number): boolean => Number.isSafeInteger(length) && length >= 0
  const fits = isLength(own.height) && isLength(own.width) && own.height <= height && own.width <= width
  if (!fits || (own.height === 0) !== (own.width === 0)) {
    return `its size ${own.height}x${own.width} does not lie within ${height}x${width}`
  }
  return null
}

function crop(
  data: Float32Array,
  offset: number,
  place: { channels: number; height: number; width: number },
  { height, width }: { height: number; width: number },
): Image {
  const { channels } = place
  const plane = place.height * place.width
  if (height === place.height && width === place.width) {
    return { data: data.subarray(offset, offset + channels * plane), channels, height, width }
  }
  const cut = new Float32Array(channels * height * width)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const from = offset + c * plane + y * place.width
      cut.set(data.subarray(from, from + width), (c * height + y) * width)
    }
  }
  return { data: cut, channels, height, width }
}

function usage(problem: string, remedy: string): VitpassError {
  return new VitpassError('USAGE', problem, { remedy })
}
