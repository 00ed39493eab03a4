import { toFloat16Bits } from '../ir/float-bits.ts'
import type { Port } from './encoder-model.ts'
import type { Image, Size } from './image.ts'
import type { NativeContract, Role } from './native-contract.ts'
import { type Grid, gridOf, writePatches } from './native-grid.ts'
import { PixelBatch } from './pixels.ts'
import type { Allocate, Batch, Feeds, HostTensor, HostType } from './strategy.ts'

/** How the images of one call lie in its tensors. */
export interface Arrangement {
  /** Patches of each image. */
  readonly grids: readonly Grid[]
  /** Patches of each sequence, padding included. */
  readonly length: number
  /** Patches of each picture, padding included. */
  readonly canvas: Grid
}

/** The images of one call: those of a batch, and copies of the last one where the model wants a fixed number. */
export interface Call extends Arrangement {
  readonly images: readonly Image[]
}

export function callOf({ members }: Pick<Batch, 'members'>, images: readonly Image[], contract: NativeContract): Call {
  const chosen = members.flatMap((member) => images[member] ?? [])
  const filled = filledUp(chosen, contract)
  return { images: filled, ...arranged(filled, contract) }
}

/** Images of these sizes, padded no more than they must be. */
export function arranged(sizes: readonly Size[], contract: NativeContract): Arrangement {
  const grids = filledUp(sizes, contract).map((size) => gridOf(size, contract))
  return {
    grids,
    length: contract.length ?? Math.max(...grids.map(({ rows, cols }) => rows * cols)),
    canvas: { rows: Math.max(...grids.map(({ rows }) => rows)), cols: Math.max(...grids.map(({ cols }) => cols)) },
  }
}

function filledUp<T>(given: readonly T[], { batch }: NativeContract): T[] {
  const last = given.slice(-1)
  const missing = Math.max(0, (batch ?? 0) - given.length)
  return [...given, ...Array.from({ length: missing }, () => last).flat()]
}

/** Makes the inputs of one call; yields between slices of what it copies. */
export function* nativeFeeds(
  call: Call,
  contract: NativeContract,
  allocate: Allocate,
): Generator<undefined, Feeds, undefined> {
  const feeds: Record<string, HostTensor> = {}
  feeds[contract.pixels.name] = yield* pixelsOf(call, contract, allocate)
  for (const [role, port] of Object.entries(contract.inputs) as [Role, Port][]) {
    const { dims, fill } = COMPANIONS[role](call, contract)
    feeds[port.name] = integers(port, dims, fill, allocate)
  }
  return feeds
}

function* pixelsOf(
  call: Call,
  contract: NativeContract,
  allocate: Allocate,
): Generator<undefined, HostTensor, undefined> {
  const { patch, channels, frames, pixels, pixelType: type } = contract
  const { images, grids, length, canvas } = call
  if (isPictures(contract)) {
    const [height, width] = [canvas.rows * patch.height, canvas.cols * patch.width]
    const data = allocate(type, images.length * channels * height * width)
    const pictures = new PixelBatch(type, data, [images.length, channels, height, width])
    for (const [i, image] of images.entries()) {
      const { rows, cols } = grids[i] ?? { rows: 0, cols: 0 }
      yield* pictures.write(image, i, { height: rows * patch.height, width: cols * patch.width })
    }
    return pictures.tensor
  }
  const size = frames * patch.height * patch.width * channels
  const packed = pixels.dims.length === 2
  const total = packed ? grids.reduce((sum, { rows, cols }) => sum + rows * cols, 0) : images.length * length
  const values = allocate('float32', total * size)
  let base = 0
  for (const [i, image] of images.entries()) {
    yield* writePatches(image, contract, values, base * size)
    const { rows, cols } = grids[i] ?? { rows: 0, cols: 0 }
    base += packed ? rows * cols : length
  }
  const inside = pixels.dims.length === 5 ? insideOf(contract) : [size]
  const dims = packed ? [total, size] : [images.length, length, ...inside]
  if (type === 'float32') return { type, data: values, dims }
  if (type === 'float64') return { type, data: Float64Array.from(values), dims }
  return { type: 'float16', data: Uint16Array.from(values, toFloat16Bits), dims }
}

function insideOf({ patch, channels, order }: NativeContract): number[] {
  return order === 'hwc' ? [patch.height, patch.width, channels] : [channels, patch.height, patch.width]
}

export function isPictures({ layout }: NativeContract): boolean {
  return layout === 'pixel-mask' || layout === 'image-sizes'
}

type Put = (index: number, value: number) => void

interface Companion {
  readonly dims: readonly number[]
  /** Puts every element that is not 0. */
  readonly fill: (put: Put) => void
}

/** What the inputs beside the pixels hold. */
const COMPANIONS: Readonly<Record<Role, (call: Call, contract: NativeContract) => Companion>> = {
  mask: (call, contract) => (isPictures(contract) ? pictureMask(call, contract) : sequenceMask(call)),
  valid: sequenceMask,
  shapes: ({ grids }) => ({
    dims: [grids.length, 2],
    fill: (put) =>
      grids.forEach(({ rows, cols }, i) => {
        put(2 * i, rows)
        put(2 * i + 1, cols)
      }),
  }),
  thw: ({ grids }) => ({
    dims: [grids.length, 3],
    fill: (put) =>
      grids.forEach(({ rows, cols }, i) => {
        put(3 * i, 1)
        put(3 * i + 1, rows)
        put(3 * i + 2, cols)
      }),
  }),
  sizes: ({ grids }, { patch }) => ({
    dims: [grids.length, 2],
    fill: (put) =>
      grids.forEach(({ rows, cols }, i) => {
        put(2 * i, rows * patch.height)
        put(2 * i + 1, cols * patch.width)
      }),
  }),
  coord: ({ grids, length }) => ({
    dims: [grids.length, length, 2],
    fill: (put) =>
      places({ grids, length }, (at, row, col) => {
        put(2 * at, row)
        put(2 * at + 1, col)
      }),
  }),
  positions: ({ grids, length }) => ({
    dims: [grids.length, length, 2],
    fill(put) {
      for (let at = 0; at < 2 * grids.length * length; at++) put(at, -1)
      places({ grids, length }, (at, row, col) => {
        put(2 * at, col)
        put(2 * at + 1, row)
      })
    },
  }),
}

/** 1 for each patch of an image, 0 for padding: [images, length]. */
function sequenceMask({ grids, length }: Pick<Call, 'grids' | 'length'>): Companion {
  return { dims: [grids.length, length], fill: (put) => places({ grids, length }, (at) => put(at, 1)) }
}

function places(
  { grids, length }: Pick<Call, 'grids' | 'length'>,
  each: (at: number, row: number, col: number) => void,
): void {
  for (const [i, { rows, cols }] of grids.entries()) {
    for (let k = 0; k < rows * cols; k++) each(i * length + k, Math.floor(k / cols), k % cols)
  }
}

/** 1 where an image is, in patches or in pixels: [images, rows, columns]. */
function pictureMask({ grids, canvas }: Call, contract: NativeContract): Companion {
  const unit = masksPixels(contract) ? contract.patch : { height: 1, width: 1 }
  const [height, width] = [canvas.rows * unit.height, canvas.cols * unit.width]
  return {
    dims: [grids.length, height, width],
    fill(put) {
      for (const [i, own] of grids.entries()) {
        for (let y = 0; y < own.rows * unit.height; y++) {
          for (let x = 0; x < own.cols * unit.width; x++) put((i * height + y) * width + x, 1)
        }
      }
    },
  }
}

/** Whether a mask beside pictures counts pixels: its lengths have the picture's names, or no name tells and the input's own does. */
function masksPixels({ inputs, pixels }: NativeContract): boolean {
  const own = inputs.mask?.dims?.slice(-2) ?? []
  const picture = pixels.dims.slice(-2)
  if (own.length === 2 && own.every((dim) => typeof dim === 'string' && dim !== ''))
    return own.every((dim, i) => dim === picture[i])
  return inputs.mask?.name.startsWith('patch') === false
}

/** A tensor of the type that the model declares for an input of whole numbers. */
function integers(port: Port, dims: readonly number[], fill: Companion['fill'], allocate: Allocate): HostTensor {
  const length = dims.reduce((n, dim) => n * dim, 1)
  if (port.dtype === 'int64') {
    const data = allocate('int64', length)
    fill((i, value) => {
      data[i] = BigInt(value)
    })
    return { type: 'int64', data, dims }
  }
  const type = WHOLE[port.dtype]
  if (type === undefined) throw new TypeError(`${port.name} is ${port.dtype}`)
  const data = allocate(type, length)
  fill((i, value) => {
    data[i] = type === 'float16' ? toFloat16Bits(value) : value
  })
  // The compiler does not follow that `type` and `data` belong together.
  return { type, data, dims } as HostTensor
}

/** Element types, beside int64, that an input of masks, sizes or positions may have. */
const WHOLE: Partial<Record<Port['dtype'], Exclude<HostType, 'int64'>>> = {
  int32: 'int32',
  bool: 'bool',
  uint8: 'uint8',
  int8: 'int8',
  float: 'float32',
  float16: 'float16',
  double: 'float64',
}

/** Whether masks, sizes and positions can be given in an element type. */
export function holdsWhole(dtype: Port['dtype']): boolean {
  return dtype === 'int64' || WHOLE[dtype] !== undefined
}
