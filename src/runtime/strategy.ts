import type { Image, Size } from './image.ts'

/** Arrays that a tensor lies in: float16 as its 16 bits, bool as 0 and 1. */
export interface HostArrays {
  readonly float32: Float32Array
  readonly float64: Float64Array
  readonly float16: Uint16Array
  readonly int64: BigInt64Array
  readonly int32: Int32Array
  readonly uint8: Uint8Array
  readonly int8: Int8Array
  readonly bool: Uint8Array
}

/** Element types in ONNX Runtime's words. */
export type HostType = keyof HostArrays

/** A tensor as plain data, which can go to another thread. */
export type HostTensor = {
  readonly [T in HostType]: { readonly type: T; readonly data: HostArrays[T]; readonly dims: readonly number[] }
}[HostType]

export type Feeds = Readonly<Record<string, HostTensor>>

/** What a strategy's `rows` may read: the outputs that it named, as floats. */
export type Outputs = Readonly<Record<string, { readonly data: Float32Array; readonly dims: readonly number[] }>>

/** Images that run together. */
export interface Batch {
  /** Positions in the list that was planned. */
  readonly members: readonly number[]
  /** The members' own sizes in pixels, in the same order. */
  readonly sizes: readonly Size[]
  /** Padded size in pixels; of the longest member where images are not padded as pictures. */
  readonly height: number
  readonly width: number
  /** Tokens that the model computes for this batch, padding included: what batches are ordered and bounded by. */
  readonly tokens: number
}

/** Gives an array of a length whose elements are all 0, from a pool where it can. */
export type Allocate = <T extends HostType>(type: T, length: number) => HostArrays[T]

/**
 * One way of feeding images of mixed sizes to a model. It holds no session: the encoder checks images, runs what `feeds` makes on its
 * threads, and hands the outputs to `rows`.
 */
export interface Strategy {
  readonly kind: 'native' | 'masked' | 'grouped'
  /** Why this one, in one sentence for the user. */
  readonly why: string
  /** Channels that images must have; null where the model takes any. */
  readonly channels: number | null
  /** Length of a row; null where the model's file does not say. */
  readonly features: number | null
  /** Outputs that `rows` reads; nothing else is fetched. */
  readonly outputs: readonly string[]
  /** Why an image of this size cannot be encoded (it is smaller than a patch, the model is for one size); null where it can. */
  refuses(size: Size): string | null
  /** The same for what its pixels hold, where that matters. Its size has been found fit before. */
  objects?(image: Image): string | null
  /** Divides images into batches, each image into exactly one. Deterministic; the order of batches does not matter. */
  plan(sizes: readonly Size[]): Batch[]
  /**
   * Makes the inputs of a batch; `images` is the list that was planned. It yields every few hundred kilobytes that it copies, so that
   * the caller's event loop can turn in between; what it returns may be transferred to another thread.
   */
  feeds(batch: Batch, images: readonly Image[], allocate: Allocate): Generator<undefined, Feeds, undefined>
  /** One pooled row for each member, in order. The arrays may be views of the outputs. */
  rows(outputs: Outputs, batch: Batch): Float32Array[]
  /** Called once when the encoder opens, with a way to run the model: throws a VitpassError where the model is not what it seems. */
  check?(run: (feeds: Feeds) => Promise<Outputs>): Promise<void>
}
