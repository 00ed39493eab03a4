import { VitpassError } from '../errors.ts'
import type { ExportEntry, GoldenCase } from './golden-case.ts'
import { type Axis, axisLength, type Layout } from './layout.ts'
import { type Grid, gridOf } from './padded.ts'
import type { Runner, Stage } from './scene.ts'

/** A stage whose outputs are laid out as the answers in the golden case. @throws VitpassError CONFIG_INVALID as `inferLayout` */
export function setStage<R extends Runner>(
  runner: R,
  goldenCase: GoldenCase,
  { outputs }: Pick<ExportEntry, 'outputs'>,
): Stage & { readonly runner: R } {
  const { patch, layouts = {} } = goldenCase
  const named = Object.entries(outputs).map(
    ([name, output]) => [name, layouts[output] ?? inferLayout(goldenCase, output)] as const,
  )
  return { runner, patch: { height: patch, width: patch }, layouts: new Map(named) }
}

/**
 * Reads an output's layout off the shapes that the model gives for images of different sizes.
 * @throws VitpassError CONFIG_INVALID where an axis follows neither tokens nor the grid
 */
function inferLayout({ images, patch, prefix, folder, expected }: GoldenCase, output: string): Layout {
  const axes: readonly Axis[] = [
    { kind: 'tokens', before: prefix, after: 0 },
    { kind: 'tokens', before: 0, after: 0 },
    { kind: 'rows' },
    { kind: 'cols' },
  ]
  const grids = images.map((image): Grid => gridOf(image, { height: patch, width: patch }))
  const shapes = images.map(({ index }) => expected(output, index).dims)
  return (shapes[0] ?? []).map((first, at) => {
    if (shapes.every((dims) => dims[at] === first)) return { kind: 'fixed' }
    const found = axes.find((axis) => grids.every((grid, i) => shapes[i]?.[at] === axisLength(axis, grid)))
    if (found !== undefined) return found
    throw new VitpassError('CONFIG_INVALID', `axis ${at} of golden ${output} follows neither tokens nor the grid`, {
      where: folder,
    })
  })
}
