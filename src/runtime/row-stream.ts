import type { ImageError } from './check-image.ts'
import type { MaybeImage, Rows } from './encoder.ts'

/** What a stream asks of the encoder. */
export interface RowSource {
  /** Bytes of images that are encoded together. */
  readonly windowBytes: number
  rowsOf(images: readonly MaybeImage[], offset: number): Promise<Rows>
  /** Length of a row, for images that have none. */
  features(): Promise<number>
}

/** Most images that are encoded together. */
const WINDOW = 1024

/**
 * Rows of an iterable's images, in order: read once with `for await`. Images are taken a window at a time, one window being read while
 * the one before is encoded, so that at most two are in memory.
 */
export class RowStream implements AsyncIterable<Float32Array> {
  /** Images that could not be encoded so far, where the option `onError` is `report`: their rows are 0. */
  readonly errors: ImageError[] = []
  private readonly images: AsyncIterable<MaybeImage> | Iterable<MaybeImage>
  private readonly source: RowSource

  constructor(images: AsyncIterable<MaybeImage> | Iterable<MaybeImage>, source: RowSource) {
    this.images = images
    this.source = source
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Float32Array, void, undefined> {
    let running: { readonly offset: number; readonly rows: Promise<Rows> } | null = null
    let offset = 0
    let window: MaybeImage[] = []
    let bytes = 0
    const begin = (): { readonly offset: number; readonly rows: Promise<Rows> } => {
      const rows = this.source.rowsOf(window, offset)
      // It is awaited later; until then its failure is nobody's.
      rows.catch(() => {})
      const begun = { offset, rows }
      offset += window.length
      window = []
      bytes = 0
      return begun
    }
    for await (const image of this.images) {
      window.push(image)
      bytes += image?.data?.byteLength ?? 0
      if (bytes < this.source.windowBytes && window.length < WINDOW) continue
      const next = begin()
      if (running !== null) yield* this.rowsOf(running)
      running = next
    }
    const last = window.length > 0 ? begin() : null
    if (running !== null) yield* this.rowsOf(running)
    if (last !== null) yield* this.rowsOf(last)
  }

  private async *rowsOf({
    offset,
    rows,
  }: {
    readonly offset: number
    readonly rows: Promise<Rows>
  }): AsyncGenerator<Float32Array> {
    const done = await rows
    for (const { index, error } of done.errors) this.errors.push({ index: offset + index, error })
    const features = done.rows.find((row) => row !== null)?.length ?? (await this.source.features())
    for (const row of done.rows) yield row?.slice() ?? new Float32Array(features)
  }
}
