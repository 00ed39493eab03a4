/** Height and width in pixels. */
export interface Size {
  readonly height: number
  readonly width: number
}

/** One image as the model wants its pixels: resized, scaled and normalised already. */
export interface Image extends Size {
  /** [channels, height, width], row-major, without gaps. */
  readonly data: Float32Array
  readonly channels: number
}

/** `64x80`: height and width. */
export function sizeText({ height, width }: Size): string {
  return `${height}x${width}`
}
