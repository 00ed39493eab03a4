import { type Size, sizeText } from '../runtime/image.ts'
import type { Dense } from '../runtime/session.ts'
import { drawImage, fillPatch, pixelNoise } from './noise.ts'
import { gridOf } from './padded.ts'
import type { Actor } from './scene.ts'
import type { Subject } from './subject.ts'

/** The images of one verification: a drawn one of each size, and one with a black patch inside. */
export interface Cast {
  readonly actors: readonly Actor[]
  /** An image whose second patch of the second row holds nothing but the padding's value; null where none is large enough. */
  readonly black: Actor | null
}

/** @param type element type of the image input, in ONNX Runtime's words */
export function castImages(subject: Subject, sizes: readonly Size[], type: string): Cast {
  const { patch } = subject.transformed
  const actors = sizes.map((size, i) => castImage(subject, size, drawPixels(subject, size, type, i)))
  const roomy = actors.find(({ own }) => own.rows > 2 && own.cols > 2)
  if (roomy === undefined) return { actors, black: null }
  const pixels = fillPatch(
    drawPixels(subject, roomy.size, type, sizes.length),
    patch,
    { row: 1, col: 1 },
    subject.masking?.padValue ?? 0,
  )
  const hidden = subject.masking?.mode === 'patch' ? [roomy.own.cols + 1] : []
  return {
    actors,
    black: { ...castImage(subject, roomy.size, pixels), label: `${roomy.label} with a black patch`, hidden },
  }
}

/** An image that is not there: all padding. */
export function castAbsent(subject: Subject): Actor {
  const { patch, channels } = subject.transformed
  return {
    label: 'an absent image',
    pixels: drawImage(channels, patch, () => subject.masking?.padValue ?? 0),
    size: { height: 0, width: 0 },
    own: { rows: 0, cols: 0 },
    hidden: [],
  }
}

/** True where the size is no whole number of patches. */
export function isRagged({ height, width }: Size, patch: Size): boolean {
  return height % patch.height !== 0 || width % patch.width !== 0
}

function castImage({ masking, transformed: { patch } }: Subject, size: Size, pixels: Dense): Actor {
  // Told from pixels, a patch begun counts whole.
  const whole = { height: size.height + patch.height - 1, width: size.width + patch.width - 1 }
  const own = gridOf(masking?.source === 'pixels' ? whole : size, patch)
  return { label: sizeText(size), pixels, size, own, hidden: [] }
}

/** Pixels that are told from padding, whatever value and tolerance padding has. */
function drawPixels({ masking, transformed }: Subject, size: Size, type: string, seed: number): Dense {
  const next = pixelNoise(type, seed + 1)
  const { padValue = 0, tol = 0 } = masking ?? {}
  if (type === 'uint8') return drawImage(transformed.channels, size, next)
  return drawImage(transformed.channels, size, () => padValue + Math.max(1, tol) * next())
}
