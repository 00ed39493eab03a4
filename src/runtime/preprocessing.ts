import type { Size } from './image.ts'
import type { Resize } from './resize-policy.ts'

/** What happens to an image between its file and the model, in this order. */
export interface Preprocessing {
  /** Null: every image keeps its size. */
  readonly resize: Resize | null
  /** Cut out of the middle; what is missing is black. Null: nothing is cut. */
  readonly crop: Size | null
  /** Bytes times this; 1/255 gives 0 to 1. */
  readonly scale: number
  /** Taken away from each channel, in the order in which the model has them; then it is divided by `std`. */
  readonly mean: readonly number[]
  readonly std: readonly number[]
  /** Whether the model has blue first. */
  readonly reversed: boolean
}

/** -1 to 1, at the image's own size: what ViT and SigLIP were trained with. */
export const PLAIN: Preprocessing = {
  resize: null,
  crop: null,
  scale: 1 / 255,
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  reversed: false,
}
