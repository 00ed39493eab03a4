import type { WavePositions } from '../analysis/computed-positions.ts'
import type { CoordinateRule, Coordinates, FreeWave } from '../analysis/coordinates.ts'
import { floatTensor } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'
import type { Validity } from './validity.ts'

type Axis = 'rows' | 'cols'

/** Computes positions that are waves over rows and columns, on the tight grid of every image. */
export class TightWaves {
  private readonly builder: Builder
  private readonly validity: Validity
  /** Coordinates by rule and axis: cosines and sines share them. */
  private readonly coordinates = new Map<string, Value>()

  constructor(builder: Builder, validity: Validity) {
    this.builder = builder
    this.validity = validity
  }

  /**
   * Positions of every image on its own tight grid, laid over the padded grid: [batch, rows * cols, channels] in float. Each channel is
   * a cosine along one axis, so that cosines are taken of rows and of columns alone, and summed: a channel of the other axis has
   * amplitude 0. Beyond an image they go on, finite.
   */
  table({ rule, waves }: WavePositions): Value {
    const { builder } = this
    const byRow = builder.unsqueeze(this.along('rows', rule, waves), { axes: [2] })
    const byCol = builder.unsqueeze(this.along('cols', rule, waves), { axes: [1] })
    return builder.reshape(builder.add(byRow, byCol), builder.int64([0, -1, waves.length]))
  }

  /** [batch, length of the padded axis, channels] float: the channels that follow the axis, and 0 for the others. */
  private along(axis: Axis, rule: CoordinateRule, waves: readonly FreeWave[]): Value {
    const { builder } = this
    // Channels that follow neither axis are counted with the rows.
    const own = (wave: FreeWave) => wave.axis === axis || (wave.axis === 'none' && axis === 'rows')
    const channels = (of: (wave: FreeWave) => number) => {
      const numbers = waves.map((wave) => (own(wave) ? of(wave) : 0))
      return builder.constant(floatTensor([waves.length], numbers))
    }
    const frequencies = channels(({ frequency }) => frequency)
    const phases = channels(({ phase }) => phase)
    const angles = builder.add(builder.mul(this.coordinate(axis, rule), frequencies), phases)
    const amplitudes = channels(({ amplitude }) => amplitude)
    return builder.mul(builder.cos(angles), amplitudes)
  }

  /** [batch or 1, length of the padded axis, 1] float. */
  private coordinate(axis: Axis, { name, shift }: CoordinateRule): Value {
    const key = `${name} ${shift} ${axis}`
    const known = this.coordinates.get(key)
    if (known !== undefined) return known
    const { builder, validity } = this
    const index = builder.cast(axis === 'rows' ? validity.rowIndex : validity.colIndex, { to: 'float' })
    const placed = builder.unsqueeze(shift === 0 ? index : builder.add(index, shift), { axes: [0, 2] })
    const length = this.divisor(name, axis)
    const made = length === null ? placed : builder.div(placed, length)
    this.coordinates.set(key, made)
    return made
  }

  /** [batch, 1, 1] float: what coordinates along an axis are divided by, at least 1; null for 1. */
  private divisor(name: Coordinates, axis: Axis): Value | null {
    if (name === 'index') return null
    const { builder, validity } = this
    const length = (of: Axis) => builder.cast(of === 'rows' ? validity.rows : validity.cols, { to: 'float' })
    const lengths: Readonly<Record<Exclude<Coordinates, 'index'>, () => Value>> = {
      stretch: () => length(axis),
      separate: () => length(axis),
      max: () => builder.max([length('rows'), length('cols')]),
      min: () => builder.min([length('rows'), length('cols')]),
      corners: () => builder.sub(length(axis), 1),
    }
    return builder.unsqueeze(builder.max([lengths[name](), builder.float(1)]), { axes: [1, 2] })
  }
}
