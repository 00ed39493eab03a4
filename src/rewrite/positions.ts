import type { AxisOrder } from '../analysis/position-operand.ts'
import type { Positions } from '../analysis/position-reader.ts'
import type { Dense } from '../analysis/strided.ts'
import { floatTensor } from '../ir/tensor-data.ts'
import type { Value } from '../ir/value.ts'
import type { Builder } from '../ops/builder.ts'
import { type ResizeRule, tableOnTightGrids } from './position-grid.ts'
import { TightWaves } from './position-waves.ts'
import type { Validity } from './validity.ts'

/** Computes positions on the tight grid of every image. */
export class TightPositions {
  private readonly builder: Builder
  private readonly validity: Validity
  private readonly waves: TightWaves

  constructor(builder: Builder, validity: Validity) {
    this.builder = builder
    this.validity = validity
    this.waves = new TightWaves(builder, validity)
  }

  /**
   * Positions of every image on its own tight grid, shaped to meet the tokens where those of one size did: batch, tokens and channels at
   * the axes where the site has them, 1 along all others. In float.
   *
   * @param resize how a table is to be resized; nothing for waves
   */
  make(positions: Positions, resize: ResizeRule | null): Value {
    const patches = this.patches(positions, resize)
    const { site, order } = positions.operand
    return place(this.builder, this.withOthers(positions, patches), order, site.dims.length)
  }

  private patches(positions: Positions, resize: ResizeRule | null): Value {
    if (positions.kind === 'waves') return this.waves.table(positions)
    if (resize === null) throw new RangeError('a position table needs a rule to be resized by')
    return tableOnTightGrids(this.builder, this.validity, positions, resize)
  }

  /** Rows of prefix and suffix, the same for every image, around those of the patches: [batch, prefix + patches + suffix, channels]. */
  private withOthers(positions: Positions, patches: Value): Value {
    const [front, back] = [positions.prefix, positions.kind === 'waves' ? null : positions.suffix]
    if ((front.dims[0] ?? 0) + (back?.dims[0] ?? 0) === 0) return patches
    const { builder } = this
    // Waves that no image's size changes have no batch of their own.
    const shape = builder.concat([builder.shape(this.validity.rows), builder.int64([1, 1])], { axis: 0 })
    const rows = positions.kind === 'waves' ? builder.expand(patches, shape) : patches
    const fixed = (part: Dense | null): Value[] => {
      const [count = 0, channels = 1] = part?.dims ?? []
      if (part === null || count === 0) return []
      return [builder.expand(builder.constant(floatTensor([1, count, channels], part.data)), shape)]
    }
    return builder.concat([...fixed(front), rows, ...fixed(back)], { axis: 1 })
  }
}

/** [batch, tokens, channels] with its axes where a tensor of `rank` axes has them. */
function place(builder: Builder, value: Value, order: AxisOrder, rank: number): Value {
  const perm = [0, 1, 2].sort((a, b) => (order[a] ?? 0) - (order[b] ?? 0))
  const turned = perm.every((axis, i) => axis === i) ? value : builder.transpose(value, { perm })
  const others = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !order.includes(axis))
  return others.length === 0 ? turned : builder.unsqueeze(turned, { axes: others })
}
