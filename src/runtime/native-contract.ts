import type { EncoderModel, Port } from './encoder-model.ts'
import type { Size } from './image.ts'
import { type NativeLayout, type NativeMetadata, readNativeMetadata } from './native-metadata.ts'
import { type PixelType, pixelType } from './pixels.ts'

/** What an input beside the pixels tells the model. */
export type Role = 'mask' | 'shapes' | 'thw' | 'coord' | 'valid' | 'positions' | 'sizes'

/** How a model wants images of any size. Lengths are null where the model takes any. */
export interface NativeContract {
  readonly layout: NativeLayout
  /** Whether the file's metadata say so, or its inputs show it. */
  readonly from: 'metadata' | 'inputs'
  readonly pixels: Port & { readonly dims: NonNullable<Port['dims']> }
  readonly pixelType: PixelType
  readonly inputs: Partial<Readonly<Record<Role, Port>>>
  readonly patch: Size
  readonly channels: number
  readonly order: 'hwc' | 'chw'
  readonly merge: number
  readonly frames: number
  readonly maxGrid: { readonly rows: number; readonly cols: number } | null
  /** Images that each call takes. */
  readonly batch: number | null
  /** Patches of each image that a call takes, padding included. */
  readonly length: number | null
  readonly metadata: NativeMetadata | null
}

/** What was found out about a model's inputs: a contract, or why images of any size cannot be given to it natively. */
export type Recognised = NativeContract | string

interface Rule {
  /** Ranks of the pixel input. */
  readonly ranks: readonly number[]
  /** Names of the inputs beside it, by what they tell; the first name that the model has. */
  readonly needs: Partial<Readonly<Record<Role, readonly string[]>>>
  readonly allows?: Partial<Readonly<Record<Role, readonly string[]>>>
}

/** Dims of the inputs beside the pixels; a mask of pictures has one more. */
const ROLE_RANKS: Readonly<Record<Role, number>> = {
  mask: 2,
  shapes: 2,
  thw: 2,
  coord: 3,
  valid: 2,
  positions: 3,
  sizes: 2,
}

const MASKS = ['pixel_attention_mask', 'patch_attention_mask', 'attention_mask']

/**
 * The input contracts, in the order in which they are tried. All lengths but those of a patch may be free. n images, at most L patches
 * each, T in all, P values in a patch.
 *
 * | layout | pixels | beside them |
 * |---|---|---|
 * | `naflex` | [n, L, P], zeros behind each image | `spatial_shapes` [n, 2] rows and columns of patches; `pixel_attention_mask` [n, L] 1 and then 0 |
 * | `packed` | [T, P], one image after another | `spatial_shapes` [n, 2] |
 * | `grid-thw` | [T, P], each image in blocks of merged patches | `grid_thw` or `image_grid_thw` [n, 3]: 1, rows, columns |
 * | `patch-coord` | [n, L, P] or [n, L, height, width, channels] | `patch_coord` [n, L, 2] row and column; `patch_valid` [n, L] |
 * | `pixel-positions` | [n, L, P] | `pixel_position_ids` [n, L, 2] column and row, -1 for padding |
 * | `pixel-mask` | [n, C, H, W], zeros to the right and below | `patch_attention_mask` [n, rows, columns] or `pixel_attention_mask` [n, H, W] |
 * | `image-sizes` | [n, C, H, W], zeros to the right and below | `image_sizes` [n, 2] height and width in pixels |
 */
const RULES: Readonly<Record<NativeLayout, Rule>> = {
  naflex: { ranks: [3], needs: { shapes: ['spatial_shapes'] }, allows: { mask: MASKS } },
  packed: { ranks: [2], needs: { shapes: ['spatial_shapes'] } },
  'grid-thw': { ranks: [2], needs: { thw: ['grid_thw', 'image_grid_thw'] } },
  'patch-coord': { ranks: [3, 5], needs: { coord: ['patch_coord'], valid: ['patch_valid'] } },
  'pixel-positions': { ranks: [3], needs: { positions: ['pixel_position_ids', 'image_position_ids'] } },
  'pixel-mask': { ranks: [4], needs: { mask: ['pixel_attention_mask', 'patch_attention_mask', 'pixel_mask'] } },
  'image-sizes': { ranks: [4], needs: { sizes: ['image_sizes'] } },
}

/**
 * Finds out how a model wants images of any size: from its metadata where they say so, else from the names, ranks and element types of
 * its inputs, in the order of the table above. The pixels are the one float input of rank 2 or more that has none of the other names. A
 * picture [n, C, H, W] alone is no native input: strategies for pictures see to it.
 */
export function recogniseInputs(model: EncoderModel): Recognised {
  if (model.applied.validity !== null) return 'vitpass has made it tell padding apart in its own way'
  const metadata = readNativeMetadata(model.metadata)
  if (typeof metadata === 'string') return metadata
  if (metadata !== null) return contractOf(model, metadata.layout, metadata)
  for (const [layout, { ranks, needs }] of Object.entries(RULES)) {
    const has = Object.values(needs).every((names) => model.inputs.some(({ name }) => names.includes(name)))
    if (has && model.inputs.some(({ dtype, dims }) => isFloat(dtype) && ranks.includes(dims?.length ?? 0))) {
      return contractOf(model, layout as NativeLayout, null)
    }
  }
  const [pixels] = model.inputs.filter(({ dtype }) => isFloat(dtype))
  const rank = pixels?.dims?.length ?? 0
  if (pixels === undefined || rank === 0) return `no input holds pixels (${model.inputs.map(describe).join(', ')})`
  if (rank >= 4) return `its input ${describe(pixels)} is a picture, and nothing beside it tells sizes`
  return `its input ${describe(pixels)} is patches, but no input tells the grid they lie on, so the grid of the export is baked`
}

function contractOf(model: EncoderModel, layout: NativeLayout, metadata: NativeMetadata | null): Recognised {
  const { ranks, needs, allows = {} } = RULES[layout]
  const inputs: Partial<Record<Role, Port>> = {}
  for (const [role, names] of Object.entries({ ...needs, ...allows }) as [Role, readonly string[]][]) {
    const named = metadata?.inputs.get(role)
    const wanted = named === undefined ? names : [named]
    const found = wanted
      .map((name) => model.inputs.find((port) => port.name === name))
      .find((port) => port !== undefined)
    if (found !== undefined) inputs[role] = found
    else if (role in needs || named !== undefined)
      return `its layout is ${layout}, but it has no input ${wanted.join(' or ')}`
  }
  for (const [role, port] of Object.entries(inputs) as [Role, Port][]) {
    const rank = role === 'mask' && ranks.includes(4) ? 3 : ROLE_RANKS[role]
    if (port.dims !== null && port.dims.length !== rank)
      return `its layout is ${layout}, but its input ${describe(port)} is not of rank ${rank}`
  }
  const others = model.inputs.filter((port) => !Object.values(inputs).includes(port))
  const named = metadata?.inputs.get('pixels')
  const [pixels, ...more] =
    named === undefined ? others : others.toSorted((a, b) => +(b.name === named) - +(a.name === named))
  if (pixels === undefined) return `its layout is ${layout}, but it has no input for pixels`
  if (more.length > 0)
    return `its layout is ${layout}, which has no place for the input ${more.map(describe).join(' and ')}`
  const type = pixelType(pixels.dtype)
  const { dims } = pixels
  if (type === undefined || type === 'uint8' || dims === null || !ranks.includes(dims.length))
    return `its layout is ${layout}, but its input ${describe(pixels)} is not floats of rank ${ranks.join(' or ')}`
  const inside =
    layout === 'pixel-mask' || layout === 'image-sizes'
      ? pictures(model, dims, metadata)
      : patches(layout, dims, metadata)
  if (typeof inside === 'string') return inside
  const padded = dims.length > 2
  const batch = padded ? fixed(dims[0]) : null
  const length = padded && dims.length !== 4 ? fixed(dims[1]) : null
  if (!padded && fixed(dims[0]) !== null) return `its input ${describe(pixels)} takes packs of one length only`
  if (dims.length === 4 && (fixed(dims[2]) ?? fixed(dims[3])) !== null)
    return `its input ${describe(pixels)} takes pictures of one size only`
  return {
    layout,
    from: metadata === null ? 'inputs' : 'metadata',
    pixels: { ...pixels, dims },
    pixelType: type,
    inputs,
    merge: metadata?.merge ?? (layout === 'grid-thw' ? 2 : 1),
    order: metadata?.order ?? (layout === 'grid-thw' ? 'chw' : 'hwc'),
    maxGrid: metadata?.maxGrid ?? null,
    batch,
    length,
    metadata,
    ...inside,
  }
}

type Inside = Pick<NativeContract, 'patch' | 'channels' | 'frames'>

/** What a patch holds, from its length where the metadata do not say: a square of 3 channels or of 1. */
function patches(layout: NativeLayout, dims: readonly unknown[], said: NativeMetadata | null): Inside | string {
  const lengths = dims.slice(dims.length === 5 ? 2 : -1).map(fixed)
  const values = lengths.reduce<number | null>((n, length) => (n === null || length === null ? null : n * length), 1)
  const frames = said?.frames == null ? (layout === 'grid-thw' ? [2, 1] : [1]) : [said.frames]
  const channels = said?.channels == null ? [3, 1] : [said.channels]
  for (const frame of frames) {
    for (const channel of channels) {
      if (said?.patch != null && (values === null || said.patch.height * said.patch.width * channel * frame === values))
        return { patch: said.patch, channels: channel, frames: frame }
      const side = Math.sqrt((values ?? 0) / channel / frame)
      if (said?.patch == null && side > 0 && Number.isInteger(side))
        return { patch: { height: side, width: side }, channels: channel, frames: frame }
    }
  }
  return `its patches hold ${values ?? 'any number of'} values, from which their size and channels cannot be told; say patch_size and channels in its metadata`
}

function pictures(model: EncoderModel, dims: readonly unknown[], said: NativeMetadata | null): Inside | string {
  const patch = said?.patch ?? model.patch
  if (patch === null) return 'no patch embedding was found behind its picture; say patch_size in its metadata'
  return { patch, channels: said?.channels ?? fixed(dims[1]) ?? 3, frames: 1 }
}

function fixed(dim: unknown): number | null {
  return typeof dim === 'number' && dim > 0 ? dim : null
}

function isFloat(dtype: Port['dtype']): boolean {
  return dtype === 'float' || dtype === 'float16' || dtype === 'double'
}

function describe({ name, dtype, dims }: Port): string {
  return `${name} (${dtype} ${dims === null ? 'of any rank' : `[${dims.map((dim) => dim ?? '?').join(', ')}]`})`
}
