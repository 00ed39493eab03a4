import { fromFloat16Bits, toFloat16Bits } from '../ir/float-bits.ts'
import type { Applied } from './encoder-model.ts'
import type { Image, Size } from './image.ts'
import type { PixelBatch, PixelType } from './pixels.ts'

type Validity = NonNullable<Applied['validity']>

/** The smallest normal number of each type, or one that is as good: no arithmetic flushes it to 0, and no sum with a weight shows it. */
const FAINT: Partial<Record<PixelType, number>> = { float32: 2 ** -100, float64: 2 ** -100, float16: 2 ** -14 }

/** Twice the relative step of each type: what rounding of the marked pixel cannot take away. */
const STEP: Partial<Record<PixelType, number>> = { float32: 2 ** -22, float64: 2 ** -51, float16: 2 ** -9 }

/** How far a marked pixel may lie from its true value: below what outputs at unit scale are held to. */
const HARMLESS: Partial<Record<PixelType, number>> = { float32: 1e-5, float64: 1e-5, float16: 1e-3 }

/**
 * Keeps images whole in models that take the last row and column of patches with a pixel of its own for an image's end. An image whose
 * own last rows or columns hold nothing but the padding value would lose them. One pixel in its last corner, changed by the least that
 * the model can tell apart from padding (2^-100 where `mask.tol` is 0), makes both ends count; in a sum with other pixels' products the
 * change is far below rounding.
 */
export class EdgeKeeper {
  private readonly validity: Validity
  private readonly type: PixelType
  private readonly patch: Size
  private readonly marker: number

  constructor(validity: Validity, type: PixelType, patch: Size) {
    this.validity = validity
    this.type = type
    this.patch = patch
    const { padValue, tol } = validity
    const distance = (tol + Math.abs(padValue)) * (STEP[type] ?? 1) + tol
    this.marker = padValue + (distance === 0 ? (FAINT[type] ?? 1) : distance)
  }

  /** Why the image's last rows or columns cannot be kept; null where they can, or need not. */
  objects(image: Image, part: Size): string | null {
    if (!this.loses(image, part)) return null
    const problem = 'its last rows or columns look like padding to the model'
    if (this.validity.mode === 'patch') return `${problem}, which masks every patch of padding (mask.mode=patch)`
    if (Math.abs(this.marker - this.validity.padValue) <= (HARMLESS[this.type] ?? 0)) return null
    return this.type === 'uint8'
      ? `${problem}, and whole numbers leave no room to mark them`
      : `${problem}, whose mask.tol=${this.validity.tol} is too coarse to mark them`
  }

  /** True where the last row or the last column of patches, in the part that is used, holds nothing but padding. */
  loses(image: Image, { height, width }: Size): boolean {
    const emptyRow = this.isEmpty(image, { top: height - this.patch.height, left: 0, height, width })
    return emptyRow || this.isEmpty(image, { top: 0, left: width - this.patch.width, height, width })
  }

  /** Changes one pixel in the last corner of item `index`, of the given size. */
  mark(pixels: PixelBatch, index: number, { height, width }: Size): void {
    pixels.set(index, 0, height - 1, width - 1, this.marker)
  }

  /** Rows from `top` to `height` and columns from `left` to `width`. */
  private isEmpty({ data, channels, ...image }: Image, area: Size & { top: number; left: number }): boolean {
    for (let c = 0; c < channels; c++) {
      for (let y = area.top; y < area.height; y++) {
        const row = (c * image.height + y) * image.width
        for (let x = area.left; x < area.width; x++) if (!this.isPadding(data[row + x] ?? 0)) return false
      }
    }
    return true
  }

  /** As the model sees it, in its own type. */
  private isPadding(value: number): boolean {
    const { padValue, tol } = this.validity
    if (this.type === 'float16') return Math.abs(half(half(value) - half(padValue))) <= half(tol)
    if (this.type === 'uint8') return Math.abs(Math.min(255, Math.max(0, Math.round(value))) - padValue) <= tol
    if (this.type === 'float64') return Math.abs(value - padValue) <= tol
    return Math.abs(Math.fround(value - Math.fround(padValue))) <= Math.fround(tol)
  }
}

function half(value: number): number {
  return fromFloat16Bits(toFloat16Bits(value))
}
