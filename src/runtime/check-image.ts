import { VitpassError } from '../errors.ts'
import { type Image, sizeText } from './image.ts'
import { findBroken } from './scan.ts'
import type { Strategy } from './strategy.ts'

/** An image that could not be encoded. */
export interface ImageError {
  /** Its place in the list or iterable; in nested lists, counted row by row. */
  readonly index: number
  readonly error: VitpassError
}

/**
 * Looks at an image before anything is done with it: its form, its size, and every pixel.
 * @throws VitpassError BAD_IMAGE
 */
export function* checkImage(
  image: Image,
  strategy: Strategy,
  maxPixels: number,
): Generator<undefined, void, undefined> {
  const { data, channels, height, width } = image
  if (!(data instanceof Float32Array)) throw bad('its data is no Float32Array', 'give pixels as 32-bit floats')
  for (const [name, length] of Object.entries({ channels, height, width })) {
    if (!Number.isSafeInteger(length) || length < 1) {
      throw bad(`its ${name} is ${length}`, 'leave absent images out, or give null for them')
    }
  }
  if (data.length !== channels * height * width) {
    throw bad(
      `it holds ${data.length} numbers instead of ${channels} x ${height} x ${width}`,
      'give [channels, height, width] without gaps',
    )
  }
  if (strategy.channels !== null && channels !== strategy.channels) {
    throw bad(`it has ${channels} channels where the model takes ${strategy.channels}`, 'convert it first')
  }
  if (height * width > maxPixels) {
    throw bad(
      `it is ${sizeText(image)}, more than ${maxPixels} pixels`,
      'make it smaller, or raise maxPixels: attention takes memory with the square of the pixels',
    )
  }
  const refusal = strategy.refuses(image)
  if (refusal !== null) throw bad(`it is ${sizeText(image)}: ${refusal}`, 'resize it')
  const broken = yield* findBroken(image)
  if (broken >= 0) {
    const place = `channel ${Math.floor(broken / (height * width))}, row ${Math.floor(broken / width) % height}, column ${broken % width}`
    throw bad(`it holds ${data[broken]} at ${place}`, 'give finite pixels')
  }
  const objection = strategy.objects?.(image) ?? null
  if (objection !== null)
    throw bad(objection, 'make the model with mask.source=sizes, which is told where an image ends')
}

function bad(problem: string, remedy: string): VitpassError {
  return new VitpassError('BAD_IMAGE', problem, { remedy })
}

/** The same error, with the image that it is about in `where`. */
export function aboutImage(error: VitpassError, name: string): VitpassError {
  const { code, message, remedy, cause } = error
  return new VitpassError(code, message, { where: name, cause, ...(remedy === undefined ? {} : { remedy }) })
}
