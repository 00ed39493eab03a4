import { expect } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { ResizeKind } from '../../src/analysis/resize-kind.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Value } from '../../src/ir/value.ts'
import type { OptionsByPass } from '../../src/pipeline/options.ts'
import type { PassReport } from '../../src/pipeline/report.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { type Drawing, drawnImage, drawVit, gridShape, PATCH, type Pen, WIDTH, weights } from './drawn-vit.ts'
import { compute, noise } from './graphs.ts'
import { type Grid, item, padBatch } from './padded.ts'
import type { Dense } from './safetensors.ts'

export const SEED = 5
export const HOW = {
  cubic: { mode: 'cubic', cubic_coeff_a: -0.75 },
  bilinear: { mode: 'linear' },
  'aa-cubic': { mode: 'cubic', cubic_coeff_a: -0.5, antialias: 1, exclude_outside: 1 },
  'aa-bilinear': { mode: 'linear', antialias: 1, exclude_outside: 1 },
  'cubic-corners': { mode: 'cubic', cubic_coeff_a: -0.75, coordinate_transformation_mode: 'align_corners' },
} as const

export const GRIDS: readonly Grid[] = [
  { rows: 5, cols: 3 },
  { rows: 4, cols: 4 },
  { rows: 2, cols: 9 },
  { rows: 7, cols: 1 },
  { rows: 1, cols: 1 },
  { rows: 11, cols: 13 },
]

/** The numbers that `weights` puts into a table [1, width, rows, cols]. */
export const stored = (dims: readonly number[]) => noise(dims, SEED * 7919).data.map((x) => x * 0.4)

/** A table [1, 8, rows, cols] resized to the patch grid: [1, patches, 8]. */
export function resized(pen: Pen, native: Grid, kind: ResizeKind): Value {
  const { b } = pen
  const table = weights(b, [1, WIDTH, native.rows, native.cols], SEED)
  const sizes = b.concat([b.int64([1, WIDTH]), gridShape(pen)], { axis: 0 })
  const wide = b.resize(table, { sizes, coordinate_transformation_mode: 'half_pixel', ...HOW[kind] })
  return b.transpose(b.reshape(wide, b.int64([1, WIDTH, -1])), { perm: [0, 2, 1] })
}

/** A model that answers its tokens with positions (y0) and without (y1). */
export function tokensWith(
  positions: (pen: Pen) => Value,
  drawing: Drawing = {},
  place: (pen: Pen) => Value = (p) => p.tokens,
) {
  return () =>
    drawVit(
      (pen) => {
        const tokens = place(pen)
        return [pen.b.add(tokens, positions(pen)), pen.b.identity(tokens)]
      },
      { opset: 18, ...drawing },
    )
}

/** [rows, cols, 8] of what positions add to one image's patches on the padded grid. */
export async function added(model: Model, grids: readonly Grid[]): Promise<{ own: number[]; padding: number[] }[]> {
  const images = grids.map(({ rows, cols }, i) => drawnImage({ height: rows * PATCH, width: cols * PATCH }, i + 1))
  const [rows, cols] = [Math.max(...grids.map((g) => g.rows)) + 2, Math.max(...grids.map((g) => g.cols)) + 1]
  const outputs = await compute(model, { pixels: padBatch(images, { height: rows * PATCH, width: cols * PATCH }) })
  const [withPositions, without] = ['y0', 'y1'].map((name) => outputs.get(name) as Dense) as [Dense, Dense]
  const prefix = (withPositions.dims[1] ?? 0) - rows * cols
  return grids.map((grid, b) => {
    const [own, padding]: [number[], number[]] = [[], []]
    const [a, c] = [item(withPositions, b).data, item(without, b).data]
    for (let t = prefix; t < prefix + rows * cols; t += 1) {
      const [row, col] = [Math.floor((t - prefix) / cols), (t - prefix) % cols]
      const into = row < grid.rows && col < grid.cols ? own : padding
      for (let d = 0; d < WIDTH; d += 1) into.push((a[t * WIDTH + d] ?? Number.NaN) - (c[t * WIDTH + d] ?? 0))
    }
    return { own, padding }
  })
}

export function largest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - (b[i] ?? Number.NaN))), 0)
}

export function posenc(model: Model, options: OptionsByPass = {}): PassReport {
  return runPasses(registry, model, ['posenc'], options).passes.at(-1) ?? expect.fail('nothing ran')
}

/** The table as [rows, cols, hidden], out of [1, hidden, rows, cols]. */
export function byPlace({ rows, cols }: Grid): { data: Float32Array; dims: number[] } {
  const channels = stored([1, WIDTH, rows, cols])
  const data = Float32Array.from({ length: channels.length }, (_, i) => {
    const [place, d] = [Math.floor(i / WIDTH), i % WIDTH]
    return channels[d * rows * cols + place] ?? Number.NaN
  })
  return { data, dims: [rows, cols, WIDTH] }
}
