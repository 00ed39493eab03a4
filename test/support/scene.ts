import { Worst } from '../../src/verify/measure.ts'
import { requireMaskedZero as measureMaskedZero, type Played, type Stage } from '../../src/verify/scene.ts'
import type { ExportEntry, GoldenCase } from './cases.ts'
import { inferLayout, withPrefix } from './layout.ts'
import type { OrtRunner } from './ort.ts'

export {
  type Actor,
  compareOwn,
  ownOutput,
  type Played,
  pixelInput,
  play,
  type Scene,
  SIZES_INPUT,
  type Stage,
} from '../../src/verify/scene.ts'

/** Fails, whatever the tolerance, unless outputs are exactly zero at masked positions, and altogether for an absent image. */
export function requireMaskedZero(worst: Worst, played: Played): void {
  const zeros = new Worst()
  measureMaskedZero(zeros, played)
  if (zeros.value !== 0) worst.fail(zeros.at)
}

/** A stage whose outputs are laid out as those of PyTorch in the golden case. */
export function setStage(
  runner: OrtRunner,
  goldenCase: GoldenCase,
  entry: ExportEntry,
): Stage & { readonly runner: OrtRunner } {
  const { patch, prefix } = goldenCase
  const layouts = Object.entries(entry.outputs).map(
    ([name, output]) => [name, withPrefix(inferLayout(goldenCase, output), prefix)] as const,
  )
  return { runner, patch: { height: patch, width: patch }, layouts: new Map(layouts) }
}
