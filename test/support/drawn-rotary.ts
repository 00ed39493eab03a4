import type { Coordinates } from '../../src/analysis/coordinates.ts'
import type { Wave } from '../../src/analysis/waves.ts'
import type { Model } from '../../src/ir/model.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import { type Drawing, drawVit, gridShape, HEADS, type Pen, WIDTH, weights, withClassToken } from './drawn-vit.ts'
import type { Grid } from './padded.ts'

/** Channels of a head: cosines and sines of six angles, three of rows and three of columns, twice. */
export const CHANNELS = 12

/** Frequencies of an axis, each a tenth of the one before; coordinates that are counted take them as they are. */
const SERIES = [1, 0.1, 0.01]

/** The reach of coordinates: one unit, spread over four patches, or a whole turn to both sides. */
function reach(name: Coordinates): number {
  return name === 'index' ? 1 : name === 'stretch' ? 5 : 4 * Math.PI
}

function shiftOf(name: Coordinates): number {
  return name === 'separate' || name === 'max' || name === 'min' ? 0.5 : 0
}

function isCentred(name: Coordinates): boolean {
  return name !== 'index' && name !== 'stretch'
}

function lengthAlong(name: Coordinates, own: number, { rows, cols }: Grid): number {
  if (name === 'index') return 1
  if (name === 'max') return Math.max(rows, cols)
  if (name === 'min') return Math.min(rows, cols)
  return name === 'corners' ? Math.max(own - 1, 1) : own
}

/** What a wave gives at a row or column. */
export function waveAt({ step, phase, amplitude }: Wave, index: number): number {
  return amplitude * Math.cos(step * index + phase)
}

/** Both tables of a rotation, made by the formulas of the libraries: [rows * cols, 12] each. */
export function rotationTables(name: Coordinates, grid: Grid): { cos: Float64Array; sin: Float64Array } {
  const [cos, sin] = [
    new Float64Array(grid.rows * grid.cols * CHANNELS),
    new Float64Array(grid.rows * grid.cols * CHANNELS),
  ]
  const at = (index: number, own: number) =>
    (index + shiftOf(name)) / lengthAlong(name, own, grid) - (isCentred(name) ? 0.5 : 0)
  for (let patch = 0; patch < grid.rows * grid.cols; patch += 1) {
    const [y, x] = [at(Math.floor(patch / grid.cols), grid.rows), at(patch % grid.cols, grid.cols)]
    const angles = [y, x].flatMap((c) => SERIES.map((f) => f * reach(name) * c))
    for (let channel = 0; channel < CHANNELS; channel += 1) {
      const angle = angles[channel % angles.length] ?? 0
      cos[patch * CHANNELS + channel] = Math.cos(angle)
      sin[patch * CHANNELS + channel] = Math.sin(angle)
    }
  }
  return { cos, sin }
}

/** Two tables that a drawn rotation multiplies into queries and keys. */
export type Tables = (pen: Pen) => readonly [Value, Value]

/** Tables stored in the file as they are at one grid; `change` may spoil them. */
export function storedTables(name: Coordinates, grid: Grid, change: (cos: Float64Array) => void = () => {}): Tables {
  return ({ b }) => {
    const { cos, sin } = rotationTables(name, grid)
    change(cos)
    const dims = [grid.rows * grid.cols, CHANNELS]
    return [b.constant(floatTensor(dims, cos)), b.constant(floatTensor(dims, sin))]
  }
}

/** One coordinate for each row, or column: [length] float. `lengths` are rows and columns of the grid, as scalars. */
export type Along = (b: Builder, index: Value, own: Value, lengths: readonly [Value, Value]) => Value

/** Tables that the graph computes at every size, of coordinates that `along` makes. */
export function computedTables(along: Along): Tables {
  return (pen) => {
    const { b } = pen
    const shape = gridShape(pen)
    const whole = [0, 1].map((axis) => b.squeeze(b.gather(shape, b.int64([axis]), { axis: 0 }), { axes: [0] }))
    const lengths = whole.map((n) => b.cast(n, { to: 'float' })) as [Value, Value]
    const angles = whole.map((length, axis) => {
      const index = b.cast(b.range(b.int64(0), length, b.int64(1)), { to: 'float' })
      const coordinates = along(b, index, lengths[axis] as Value, lengths)
      const angle = b.mul(b.unsqueeze(coordinates, { axes: [1] }), b.float(SERIES))
      const placed = b.unsqueeze(angle, { axes: [1 - axis] })
      return b.expand(placed, b.concat([shape, b.int64([SERIES.length])], { axis: 0 }))
    })
    const rows = b.reshape(b.concat(angles, { axis: 2 }), b.int64([-1, CHANNELS / 2]))
    const twice = b.concat([rows, rows], { axis: 1 })
    return [b.cos(twice), b.sin(twice)]
  }
}

/** The coordinates of a known rule; with `frozen`, divided by the lengths of that grid whatever the image's. */
export function known(name: Coordinates, frozen: Grid | null = null): Along {
  return (b, index, own, [rows, cols]) => {
    const one = b.float(1)
    const length = (value: Value, isRows: boolean) =>
      frozen === null ? value : b.float(isRows ? frozen.rows : frozen.cols)
    const [high, wide] = [length(rows, true), length(cols, false)]
    const mine = own === rows ? high : wide
    const by = {
      index: () => one,
      stretch: () => mine,
      separate: () => mine,
      max: () => b.max([high, wide]),
      min: () => b.min([high, wide]),
      corners: () => b.max([b.sub(mine, one), one]),
    }[name]()
    const placed = b.div(shiftOf(name) === 0 ? index : b.add(index, b.float(shiftOf(name))), by)
    return b.mul(isCentred(name) ? b.sub(placed, b.float(0.5)) : placed, b.float(reach(name)))
  }
}

/** Attention whose queries and keys are rotated: y0 is [batch, tokens, 8]. With a class token the tables begin with a row of no rotation. */
export function drawRotary(tables: Tables, drawing: Drawing & { readonly classToken?: boolean } = {}): Model {
  return drawVit(
    (pen) => {
      const { b } = pen
      const classToken = drawing.classToken === true
      const x = classToken ? withClassToken(pen) : pen.tokens
      const [cos, sin] = tables(pen).map((table, i) => {
        if (!classToken) return table
        const still = b.constant(floatTensor([1, CHANNELS], new Array(CHANNELS).fill(1 - i)))
        return b.concat([still, table], { axis: 0 })
      }) as [Value, Value]
      const heads = (seed: number) => {
        const wide = b.matMul(x, weights(b, [WIDTH, HEADS * CHANNELS], seed))
        return b.transpose(b.reshape(wide, b.int64([0, 0, HEADS, CHANNELS])), { perm: [0, 2, 1, 3] })
      }
      const turned = (value: Value) => {
        const [first, second] = [0, 1].map((half) =>
          b.slice(value, { starts: [(half * CHANNELS) / 2], ends: [((half + 1) * CHANNELS) / 2], axes: [3] }),
        ) as [Value, Value]
        return b.concat([b.neg(second), first], { axis: 3 })
      }
      const rotated = (value: Value) => b.add(b.mul(value, cos), b.mul(turned(value), sin))
      const keys = b.transpose(rotated(heads(22)), { perm: [0, 1, 3, 2] })
      const scores = b.mul(b.matMul(rotated(heads(21)), keys), b.float(0.3))
      const mixed = b.matMul(b.softmax(scores, { axis: -1 }), heads(23))
      const merged = b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), b.int64([0, 0, HEADS * CHANNELS]))
      return [b.add(x, b.matMul(merged, weights(b, [HEADS * CHANNELS, WIDTH], 24)))]
    },
    { opset: 18, ...drawing },
  )
}
