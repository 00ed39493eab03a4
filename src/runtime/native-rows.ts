import { VitpassError } from '../errors.ts'
import type { EncoderModel, Port } from './encoder-model.ts'
import type { NativeContract } from './native-contract.ts'
import { type Arrangement, isPictures } from './native-feeds.ts'
import type { Grid } from './native-grid.ts'
import { choosePooling, type Pooling } from './pooling.ts'
import type { Outputs } from './strategy.ts'

/** The output of a native model, and how it is divided among the images of a call. */
export interface NativeRows {
  readonly output: string
  readonly features: number | null
  /**
   * One row for each image of the call, in order; tokens of an image are averaged, padding left out.
   * @throws VitpassError MODEL_UNSUPPORTED where the output is divided otherwise
   */
  divide(outputs: Outputs, arrangement: Arrangement): Float32Array[]
}

/**
 * Chooses the output: the one that the user names, that the metadata name, `image_embeds`, `pooler_output`, then as for other models. Its
 * rows are images, tokens of images padded to one length, or tokens one image after another: the metadata say which, or the names of its
 * first dim, or its length.
 */
export function chooseRows(model: EncoderModel, contract: NativeContract, named?: string): NativeRows | string {
  const said = contract.metadata?.output ?? null
  const embeds = model.outputs.find(({ name }) => name === 'image_embeds')?.name
  const pooling = choosePooling(model, named ?? said?.name ?? embeds)
  if (typeof pooling === 'string') return pooling
  const port = model.outputs.find(({ name }) => name === pooling.output)
  const rows = (said?.name === pooling.output ? said.rows : null) ?? declaredRows(port, contract)
  return {
    output: pooling.output,
    features: pooling.features,
    divide(outputs, arrangement) {
      const { grids } = arrangement
      const found = outputs[pooling.output]
      if (found === undefined) throw unsupported(pooling.output, 'was not computed')
      const { data, dims } = found
      const flat = flatDims(dims, grids)
      if (flat === null) return perImage(pooling, outputs, dims, arrangement, contract)
      const [count = 0, features = 0] = flat
      const tokens = tokenCounts(count, grids, contract)
      const images = count === grids.length
      if (rows === 'image' ? !images : rows === 'token' ? tokens === null : !images && tokens === null) {
        const wanted = rows === null ? 'images nor of tokens' : `${rows}s`
        throw unsupported(pooling.output, `is [${dims.join(', ')}], which is not the number of ${wanted}`)
      }
      return rows === 'token' || !images
        ? means(data, features, tokens ?? [])
        : grids.map((_, i) => data.subarray(i * features, (i + 1) * features))
    },
  }
}

/** Dims of an output without an axis for images: [rows, features], or [1, tokens, features] of several images, or of one and no padding. */
function flatDims(dims: readonly number[], grids: readonly Grid[]): readonly number[] | null {
  if (dims.length === 2) return dims
  const own = grids.reduce((sum, { rows, cols }) => sum + rows * cols, 0)
  return dims.length === 3 && dims[0] === 1 && (grids.length > 1 || dims[1] === own) ? dims.slice(1) : null
}

/** What the name of an output's first dim says: that of the images, or that of the packed patches. */
function declaredRows(port: Port | undefined, { pixels, inputs }: NativeContract): 'image' | 'token' | null {
  const first = port?.dims?.[0]
  if (port?.dims?.length !== 2 || typeof first !== 'string' || first === '') return null
  const images = pixels.dims.length > 2 ? pixels.dims[0] : (inputs.shapes ?? inputs.thw)?.dims?.[0]
  if (first === images) return 'image'
  return pixels.dims.length === 2 && first === pixels.dims[0] ? 'token' : null
}

/** Tokens of each image, where they add up to `count`: its patches, or its merged blocks. */
function tokenCounts(count: number, grids: readonly Grid[], { merge }: NativeContract): number[] | null {
  for (const block of new Set([merge * merge, 1])) {
    const counts = grids.map(({ rows, cols }) => (rows * cols) / block)
    if (counts.reduce((sum, tokens) => sum + tokens, 0) === count) return counts
  }
  return null
}

function means(data: Float32Array, features: number, counts: readonly number[]): Float32Array[] {
  let start = 0
  return counts.map((count) => {
    const sums = new Float64Array(features)
    for (let token = 0; token < count; token++, start += features) {
      for (let f = 0; f < features; f++) sums[f] = (sums[f] ?? 0) + (data[start + f] ?? 0)
    }
    return Float32Array.from(sums, (sum) => sum / count)
  })
}

function perImage(
  pooling: Pooling,
  outputs: Outputs,
  dims: readonly number[],
  { grids, length, canvas }: Arrangement,
  contract: NativeContract,
): Float32Array[] {
  if (dims[0] !== grids.length) throw unsupported(pooling.output, `is [${dims.join(', ')}] for ${grids.length} images`)
  const pictures = isPictures(contract)
  const block = !pictures && (dims[1] ?? 0) < length ? contract.merge ** 2 : 1
  const padded = pictures ? canvas : { rows: 1, cols: length / block }
  return grids.map((grid, i) => {
    const own = pictures ? grid : { rows: 1, cols: (grid.rows * grid.cols) / block }
    return pooling.row(outputs, i, { padded, own, zeroed: false, sparse: false })
  })
}

function unsupported(output: string, problem: string): VitpassError {
  return new VitpassError('MODEL_UNSUPPORTED', `output ${output} ${problem}`, {
    remedy:
      'name another one with the option `output`, or say in the metadata what its rows are, and merge_size where patches are merged',
  })
}
