import { VitpassError } from '../errors.ts'
import { ArrayPool } from './array-pool.ts'
import { type Engine, runImages } from './batch-run.ts'
import { aboutImage, checkImage, type ImageError } from './check-image.ts'
import { chooseStrategy, type StrategyOptions } from './choose-strategy.ts'
import { Distinct } from './distinct.ts'
import { readEncoderModel } from './encoder-model.ts'
import { type EncoderOptions, type EncoderSettings, settingsFor } from './encoder-options.ts'
import { Gate } from './gate.ts'
import type { Image } from './image.ts'
import { Lanes, type ProviderReason } from './lanes.ts'
import { Pace } from './pace.ts'
import { cropAll, type PaddedSizes } from './padded-images.ts'
import { measureFeatures } from './probe.ts'
import { RowCache } from './row-cache.ts'
import { RowStream } from './row-stream.ts'
import { digestOf, fingerprint } from './scan.ts'

/** Embeddings, row-major: [n, d] for a flat list, [lists, longest, d] for nested ones; 0 where an image is absent or failed. */
export interface Encoded {
  readonly data: Float32Array
  readonly dims: number[]
  /** Images that could not be encoded, where the option `onError` is `report`. */
  readonly errors: readonly ImageError[]
}

/** An image, or null where there is none. */
export type MaybeImage = Image | null

/** Rows in the order of images, null where there is none. */
export interface Rows {
  readonly rows: (Float32Array | null)[]
  readonly errors: ImageError[]
}

/** Turns images of any mix of sizes into embeddings: each image's is what the model gives for it alone. */
export class ImageEncoder {
  private readonly engine: Engine
  private readonly settings: EncoderSettings
  private readonly cache: RowCache
  private readonly active = new Set<Promise<unknown>>()
  private features: number | null
  private closed = false

  private constructor(engine: Engine, settings: EncoderSettings) {
    this.engine = engine
    this.settings = settings
    this.cache = new RowCache(settings.cacheBytes)
    this.features = engine.strategy.features
  }

  /**
   * Opens a model: a path, or its bytes (without external data).
   * @throws VitpassError what reading the file throws; BAD_OPTION; MODEL_UNSUPPORTED where it is no encoder of images;
   *   RUNTIME_MISSING without onnxruntime-node; RUNTIME_FAILED where no provider runs it
   */
  static async open(source: string | Uint8Array, options: EncoderOptions = {}): Promise<ImageEncoder> {
    const model = await readEncoderModel(source)
    const settings = settingsFor(options, model)
    chooseStrategy(model, strategyOptions(settings, 'cpu', 1))
    const { shareWeights } = settings
    const lanes = await Lanes.open(source, settings.providers, settings.lanes, { shareWeights, memoryPatterns: false })
    try {
      const strategy = chooseStrategy(model, strategyOptions(settings, lanes.provider, lanes.count))
      await strategy.check?.(async (feeds) => (await lanes.run(feeds, strategy.outputs, 0)).outputs)
      const gate = new Gate(2 * lanes.count, settings.maxBytes)
      const engine = { strategy, lanes, gate, pool: new ArrayPool(settings.maxBytes), pace: new Pace() }
      return new ImageEncoder(engine, settings)
    } catch (error) {
      await lanes.close()
      throw error
    }
  }

  /** The execution provider that runs the model. */
  get provider(): string {
    return this.engine.lanes.provider
  }

  /** Why the providers before it do not. */
  get reasons(): readonly ProviderReason[] {
    return this.engine.lanes.reasons
  }

  /** The output that rows are made of. */
  get output(): string {
    return this.engine.strategy.outputs.join(', ')
  }

  /** How images are fed to the model, and why so. */
  get strategy(): { readonly kind: string; readonly why: string } {
    const { kind, why } = this.engine.strategy
    return { kind, why }
  }

  /** Sessions that run at the same time. */
  get workers(): number {
    return this.engine.lanes.count
  }

  /**
   * Encodes images; null stands for an absent one. Lists in a list give [lists, longest, d]. An iterable is read as its rows are
   * taken, with a bounded number of images in memory.
   * @throws VitpassError BAD_IMAGE naming the image (unless `onError` is `report`), RUNTIME_FAILED, MODEL_UNSUPPORTED; USAGE once closed
   */
  encode(images: readonly MaybeImage[]): Promise<Encoded>
  encode(images: readonly (readonly MaybeImage[])[]): Promise<Encoded>
  encode(images: AsyncIterable<MaybeImage> | Iterable<MaybeImage>): RowStream
  encode(
    images:
      | readonly MaybeImage[]
      | readonly (readonly MaybeImage[])[]
      | AsyncIterable<MaybeImage>
      | Iterable<MaybeImage>,
  ): Promise<Encoded> | RowStream {
    if (!Array.isArray(images)) {
      // What is no array here is one of the iterables; the compiler does not take readonly arrays away.
      return this.stream(images as AsyncIterable<MaybeImage> | Iterable<MaybeImage>)
    }
    return images.some(Array.isArray) ? this.encodeNested(images) : this.encodeFlat(images)
  }

  /**
   * Encodes images that lie padded in one array, [n, channels, height, width] or [lists, longest, channels, height, width], each cut to
   * its own height and width first.
   * @param sizes height and width of each image in pixels, one pair after the other; 0 and 0 for an absent one
   * @returns [n, d] or [lists, longest, d]
   * @throws VitpassError as `encode`; USAGE where data, dims and sizes do not fit each other
   */
  async encodePadded(data: Float32Array, dims: readonly number[], sizes: PaddedSizes): Promise<Encoded> {
    const { pace } = this.engine
    const { images, problems } = await pace.drive(cropAll(data, dims, sizes))
    const flat = await this.encodeFlat(images, problems)
    const leading = dims.slice(0, -3)
    return { ...flat, dims: [...leading, flat.dims[1] ?? 0] }
  }

  /** Waits for what runs, and frees sessions and threads. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await Promise.allSettled([...this.active])
    await this.engine.lanes.close()
  }

  private stream(images: AsyncIterable<MaybeImage> | Iterable<MaybeImage>): RowStream {
    return new RowStream(images, {
      windowBytes: this.settings.maxBytes / 2,
      rowsOf: (list, offset) => this.rowsOf(list, (i) => `image ${offset + i}`),
      features: () => this.featureCount(),
    })
  }

  private async encodeFlat(images: readonly MaybeImage[], problems: readonly ImageError[] = []): Promise<Encoded> {
    const { rows, errors } = await this.rowsOf(images, (i) => `image ${i}`, problems)
    return this.gather(rows, [rows.length], (i) => i, errors)
  }

  private async encodeNested(lists: readonly (readonly MaybeImage[])[]): Promise<Encoded> {
    const longest = lists.reduce((most, list) => Math.max(most, list.length), 0)
    const places = lists.flatMap((list, row) => list.map((_, col) => ({ row, col })))
    const { rows, errors } = await this.rowsOf(lists.flat(), (i) => `image ${places[i]?.row},${places[i]?.col}`)
    const target = (i: number): number => (places[i]?.row ?? 0) * longest + (places[i]?.col ?? 0)
    return this.gather(rows, [lists.length, longest], target, errors)
  }

  private async gather(
    rows: readonly (Float32Array | null)[],
    leading: readonly number[],
    target: (i: number) => number,
    errors: readonly ImageError[],
  ): Promise<Encoded> {
    const features = rows.find((row) => row !== null)?.length ?? (await this.featureCount())
    const data = new Float32Array(leading.reduce((n, length) => n * length, features))
    for (const [i, row] of rows.entries()) if (row !== null) data.set(row, target(i) * features)
    return { data, dims: [...leading, features], errors }
  }

  private async featureCount(): Promise<number> {
    this.features ??= await this.track(() => measureFeatures(this.engine))
    return this.features
  }

  private rowsOf(
    images: readonly MaybeImage[],
    nameOf: (i: number) => string,
    problems: readonly ImageError[] = [],
  ): Promise<Rows> {
    return this.track(() => this.run(images, nameOf, problems))
  }

  /** Keeps note of what runs, for `close`. */
  private async track<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed) {
      throw new VitpassError('USAGE', 'the encoder is closed', { remedy: 'encode before calling close' })
    }
    const running = work()
    this.active.add(running)
    try {
      return await running
    } finally {
      this.active.delete(running)
    }
  }

  private async run(
    images: readonly MaybeImage[],
    nameOf: (i: number) => string,
    problems: readonly ImageError[],
  ): Promise<Rows> {
    const { engine, settings, cache } = this
    const errors: ImageError[] = []
    const rows = images.map((): Float32Array | null => null)
    const reject = (index: number, error: VitpassError): void => {
      const named = aboutImage(error, nameOf(index))
      if (settings.onError === 'throw') throw named
      errors.push({ index, error: named })
    }
    for (const { index, error } of problems) reject(index, error)

    const distinct = new Distinct()
    // For each of the distinct images: where it stands in the list, and its name in the cache.
    const uses: number[][] = []
    const names: (string | null)[] = []
    for (const [index, image] of images.entries()) {
      if (image === null || image === undefined) continue
      try {
        await engine.pace.drive(checkImage(image, engine.strategy, settings.maxPixels))
        const name = settings.cacheBytes > 0 ? await engine.pace.drive(fingerprint(image)) : null
        const known = name === null ? undefined : cache.get(name)
        if (known !== undefined) {
          rows[index] = known
          continue
        }
        const place = settings.deduplicate
          ? distinct.add(image, await engine.pace.drive(digestOf(image)))
          : distinct.push(image)
        const used = uses[place] ?? []
        used.push(index)
        uses[place] = used
        names[place] = name
      } catch (error) {
        if (!(error instanceof VitpassError) || error.code !== 'BAD_IMAGE' || error.where !== undefined) throw error
        reject(index, error)
      }
    }
    await runImages(engine, distinct.images, {
      put(place, row) {
        for (const index of uses[place] ?? []) rows[index] = row
        const name = names[place] ?? null
        if (name !== null) cache.set(name, row)
      },
      fail(place, error) {
        for (const index of uses[place] ?? []) reject(index, error)
      },
    })
    this.features ??= rows.find((row) => row !== null)?.length ?? null
    return { rows, errors: errors.toSorted((a, b) => a.index - b.index) }
  }
}

function strategyOptions(settings: EncoderSettings, provider: string, lanes: number): StrategyOptions {
  return {
    batchTokens: settings.batchTokens(provider),
    batchBytes: settings.maxBytes / (2 * lanes),
    maxPadding: settings.maxPadding,
    lanes,
    output: settings.output,
  }
}
