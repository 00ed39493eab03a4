import { METADATA_KEY } from '../ir/provenance.ts'
import type { Size } from './image.ts'

/** Ways of giving images of any size to a model; `native-contract.ts` says what each one's inputs are. */
export const LAYOUTS = [
  'naflex',
  'packed',
  'grid-thw',
  'patch-coord',
  'pixel-positions',
  'pixel-mask',
  'image-sizes',
] as const

export type NativeLayout = (typeof LAYOUTS)[number]

/** What a model's file says about its input contract: `metadata_props["vitpass"]`, JSON with the field `layout`. */
export interface NativeMetadata {
  readonly layout: NativeLayout
  /** Pixels in a patch. */
  readonly patch: Size | null
  readonly channels: number | null
  /** Order of the values inside a patch: row, column, channel; or channel, row, column. */
  readonly order: 'hwc' | 'chw' | null
  /** Largest patch rows and columns that the model has positions for. */
  readonly maxGrid: { readonly rows: number; readonly cols: number } | null
  /** Patches in a side of the block that becomes one token. */
  readonly merge: number | null
  /** Times that an image is repeated, for models of moving pictures. */
  readonly frames: number | null
  /** The output to read, and whether a row of it is an image or a token. */
  readonly output: { readonly name: string; readonly rows: 'image' | 'token' | null } | null
  /** Names of the inputs by what they are (`pixels`, `mask`, `shapes`, ...), where they are not the usual ones. */
  readonly inputs: ReadonlyMap<string, string>
  /** True where the model says that it has no positions, so that its answer need not depend on the grid. */
  readonly positionless: boolean
  /** Normalisation by channel, of pixels from 0 to 1. */
  readonly mean: readonly number[] | null
  readonly std: readonly number[] | null
}

/** The contract that the metadata tell; null where they tell none, a text where what they tell cannot be followed. */
export function readNativeMetadata(metadata: ReadonlyMap<string, string>): NativeMetadata | string | null {
  const said = parsed(metadata.get(METADATA_KEY))
  if (said === null || said.layout === undefined) return null
  const layout = LAYOUTS.find((known) => known === said.layout)
  if (layout === undefined)
    return `its metadata name the layout ${JSON.stringify(said.layout)}; known are ${LAYOUTS.join(', ')}`
  if (said.version !== 1)
    return `its metadata follow version ${JSON.stringify(said.version)} of the contract; known is 1`
  const grid = pair(said.max_grid)
  const side = typeof said.patch_size === 'number' ? [said.patch_size, said.patch_size] : said.patch_size
  const patch = pair(side)
  const order = said.patch_order === 'hwc' || said.patch_order === 'chw' ? said.patch_order : null
  const merge = count(said.merge_size)
  const frames = count(said.frames)
  const channels = count(said.channels)
  const wrong = Object.entries({
    max_grid: grid,
    patch_size: patch,
    patch_order: order,
    merge_size: merge,
    frames,
    channels,
  }).find(([key, value]) => said[key] !== undefined && value === null)
  if (wrong !== undefined) return `its metadata give ${wrong[0]} as ${JSON.stringify(said[wrong[0]])}`
  return {
    layout,
    patch: patch === null ? null : { height: patch[0], width: patch[1] },
    channels,
    order,
    maxGrid: grid === null ? null : { rows: grid[0], cols: grid[1] },
    merge,
    frames,
    output: outputOf(said.output),
    inputs: new Map(
      Object.entries(isRecord(said.inputs) ? said.inputs : {}).filter(
        (entry): entry is [string, string] => typeof entry[1] === 'string',
      ),
    ),
    positionless: said.positions === 'none',
    mean: numbers(said.mean),
    std: numbers(said.std),
  }
}

type Said = Readonly<Record<string, unknown>>

function parsed(text: string | undefined): Said | null {
  if (text === undefined) return null
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}

function isRecord(value: unknown): value is Said {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : null
}

function pair(value: unknown): readonly [number, number] | null {
  if (!Array.isArray(value) || value.length !== 2) return null
  const [first, second] = [count(value[0]), count(value[1])]
  return first === null || second === null ? null : [first, second]
}

function numbers(value: unknown): readonly number[] | null {
  return Array.isArray(value) && value.every((item) => typeof item === 'number') ? value : null
}

function outputOf(value: unknown): NativeMetadata['output'] {
  if (!isRecord(value) || typeof value.name !== 'string') return null
  return { name: value.name, rows: value.rows === 'image' || value.rows === 'token' ? value.rows : null }
}
