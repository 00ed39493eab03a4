import { VitpassError } from '../errors.ts'
import { elementCount } from '../ir/tensor.ts'
import type { DeclaredDim } from '../ir/value.ts'
import type { EncoderModel, Port } from './encoder-model.ts'
import type { Outputs } from './strategy.ts'

/** Where an image lies on the padded grid of patches of its batch. */
export interface Placement {
  readonly padded: { readonly rows: number; readonly cols: number }
  readonly own: { readonly rows: number; readonly cols: number }
  /** True where tokens of padding are exactly 0, wherever they stand (pass `zero`). */
  readonly zeroed: boolean
  /** True where patches inside the image may be masked too: their tokens are exactly 0. */
  readonly sparse: boolean
}

/** The output that stands for an image, and how one row is made of it. */
export interface Pooling {
  readonly output: string
  /** Features in a row; null where the file does not say. */
  readonly features: number | null
  /**
   * The row of one image: the mean over every axis that is neither the batch nor the features. With a placement, tokens of padding are
   * left out; other tokens than patches count.
   * @throws VitpassError MODEL_UNSUPPORTED where the output's axes are not those of the patch grid
   */
  row(outputs: Outputs, index: number, placement?: Placement): Float32Array
}

/**
 * Chooses the output: the one that is named, else `pooler_output`, else embeddings [batch, features], else the last hidden state, else
 * the last of the hidden states, else any other [batch, features], else any other float output. A text where there is none.
 */
export function choosePooling(model: EncoderModel, named?: string): Pooling | string {
  const floats = model.outputs.filter(({ dtype }) => dtype === 'float' || dtype === 'float16' || dtype === 'double')
  const port = named === undefined ? preferred(floats) : floats.find(({ name }) => name === named)
  if (port === undefined) {
    const have = model.outputs.map(({ name, dtype }) => `${name} (${dtype})`).join(', ')
    return named === undefined ? `no float output among ${have}` : `no float output is named ${named}; it has ${have}`
  }
  const { name, dims } = port
  const declared = dims === null ? null : (dims[featureAxis(dims)] ?? null)
  return {
    output: name,
    features: typeof declared === 'number' && declared > 0 ? declared : null,
    row(outputs, index, placement) {
      const found = outputs[name]
      if (found === undefined) throw unsupported(name, 'was not computed')
      const axis = featureAxis(dims !== null && dims.length === found.dims.length ? dims : found.dims)
      return pool(name, found, index, axis, placement)
    },
  }
}

function preferred(ports: readonly Port[]): Port | undefined {
  const flat = ports.filter(({ dims }) => dims?.length === 2)
  return (
    ports.find(({ name }) => name === 'pooler_output') ??
    flat.find(({ name }) => /embed/i.test(name)) ??
    ports.find(({ name }) => name === 'last_hidden_state') ??
    lastHiddenState(ports) ??
    flat[0] ??
    ports.find(({ dims }) => dims === null || dims.length >= 2)
  )
}

function lastHiddenState(ports: readonly Port[]): Port | undefined {
  const numbered = ports.flatMap((port) => {
    const [, number] = /^(?:.*[./])?hidden_states?(?:[._](\d+))?$/.exec(port.name) ?? [null, null]
    return number === null ? [] : [{ port, number: Number(number ?? -1) }]
  })
  return numbered.toSorted((a, b) => b.number - a.number)[0]?.port
}

/** The axis of a fixed length; where several are, the last of three, or the longest of four. */
function featureAxis(dims: readonly DeclaredDim[]): number {
  const fixed = dims.flatMap((dim, axis) => (axis > 0 && typeof dim === 'number' ? [axis] : []))
  if (fixed.length === 1) return fixed[0] ?? 1
  if (dims.length !== 4) return dims.length - 1
  const length = (axis: number): number => Number(dims[axis])
  return fixed.reduce((best, axis) => (length(axis) > length(best) ? axis : best), 1)
}

type Found = Outputs[string]

function pool(
  name: string,
  { data, dims }: Found,
  index: number,
  axis: number,
  placement: Placement | undefined,
): Float32Array {
  const features = dims[axis] ?? 0
  const inner = elementCount(dims.slice(axis + 1))
  const outer = elementCount(dims.slice(1, axis))
  const size = outer * features * inner
  const item = data.subarray(index * size, (index + 1) * size)
  if (outer * inner === 1) return item
  // Positions run over the axes before the features, then over those behind.
  const positions = placement === undefined ? null : validPositions(name, dims, axis, placement)
  const sums = new Float64Array(features)
  let counted = 0
  const add = (position: number): void => {
    const base = Math.floor(position / inner) * features * inner + (position % inner)
    if (placement?.sparse === true && isZero(item, base, features, inner)) return
    for (let f = 0; f < features; f++) sums[f] = (sums[f] ?? 0) + (item[base + f * inner] ?? 0)
    counted += 1
  }
  if (positions === null) for (let position = 0; position < outer * inner; position++) add(position)
  else for (const position of positions) add(position)
  // Zeros add nothing, but were counted.
  if (placement?.zeroed === true && !placement.sparse) counted -= paddingOf(placement)
  return Float32Array.from(sums, (sum) => sum / Math.max(counted, 1))
}

function paddingOf({ padded, own }: Placement): number {
  return padded.rows * padded.cols - own.rows * own.cols
}

/** Positions of an image's own tokens; null where the axes do not follow the grid, so that all of them count. */
function validPositions(
  name: string,
  dims: readonly number[],
  axis: number,
  { padded, own, zeroed }: Placement,
): number[] | null {
  const lengths = dims.filter((_, i) => i > 0 && i !== axis)
  const patches = padded.rows * padded.cols
  const [first = 0, second] = lengths
  const prefix = second === undefined ? first - patches : 0
  if (lengths.length > 2 || (second !== undefined && (first !== padded.rows || second !== padded.cols)) || prefix < 0) {
    throw unsupported(
      name,
      `is [${dims.join(', ')}], whose axes do not follow the grid of ${padded.rows}x${padded.cols} patches`,
    )
  }
  if (zeroed || (own.rows === padded.rows && own.cols === padded.cols)) return null
  const positions = Array.from({ length: prefix }, (_, i) => i)
  for (let row = 0; row < own.rows; row++) {
    for (let col = 0; col < own.cols; col++) positions.push(prefix + row * padded.cols + col)
  }
  return positions
}

function isZero(item: Float32Array, base: number, features: number, stride: number): boolean {
  for (let f = 0; f < features; f++) if (item[base + f * stride] !== 0) return false
  return true
}

function unsupported(output: string, problem: string): VitpassError {
  return new VitpassError('MODEL_UNSUPPORTED', `output ${output} ${problem}`, {
    remedy: 'name another one with the option `output`',
  })
}
