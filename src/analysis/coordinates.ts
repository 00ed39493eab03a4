import { offMultiple, type Wave } from './waves.ts'

/**
 * How a patch's place along an axis becomes the coordinate of computed positions.
 * - `index`: counted, whatever the image's size;
 * - `stretch`: counted and divided by the axis's own length, so that a fixed range is spread over every image;
 * - `separate`: the middle of the patch, divided by the axis's own length; `max` and `min`: by the longer or shorter of both;
 * - `corners`: from the first patch to the last, whatever lies between.
 */
export const COORDINATES = ['index', 'stretch', 'separate', 'max', 'min', 'corners'] as const

export type Coordinates = (typeof COORDINATES)[number]

/** Positions along an axis are `(i + shift) / divisor`, up to what a wave's phase takes up. */
export interface CoordinateRule {
  readonly name: Coordinates
  /** 0.5 for the middle of a patch, 1 where patches are counted from 1. */
  readonly shift: number
}

/** Every rule that is known, likeliest first. */
export const COORDINATE_RULES: readonly CoordinateRule[] = [
  { name: 'separate', shift: 0.5 },
  { name: 'max', shift: 0.5 },
  { name: 'min', shift: 0.5 },
  { name: 'corners', shift: 0 },
  { name: 'index', shift: 0 },
  { name: 'stretch', shift: 0 },
  { name: 'stretch', shift: 1 },
]

/** What the coordinate is divided by along an axis of a grid. */
export function divisor(name: Coordinates, axis: Wave['axis'], rows: number, cols: number): number {
  const own = axis === 'rows' ? rows : cols
  switch (name) {
    case 'index':
      return 1
    case 'stretch':
    case 'separate':
      return own
    case 'max':
      return Math.max(rows, cols)
    case 'min':
      return Math.min(rows, cols)
    case 'corners':
      return Math.max(own - 1, 1)
  }
}

/** A channel of positions for images of any size: `amplitude * cos(frequency * (i + shift) / divisor + phase)`. */
export interface FreeWave {
  readonly axis: Wave['axis']
  readonly frequency: number
  readonly phase: number
  readonly amplitude: number
}

/** A wave of one grid, for any: its step is what its frequency comes to there. */
export function freed(wave: Wave, { name, shift }: CoordinateRule, rows: number, cols: number): FreeWave {
  const { axis, step, amplitude } = wave
  return {
    axis,
    frequency: step * divisor(name, axis, rows, cols),
    phase: wave.phase - step * shift,
    amplitude,
  }
}

/** A channel's value at row or column `index` of a grid. */
export function freeWaveAt(
  { axis, frequency, phase, amplitude }: FreeWave,
  { name, shift }: CoordinateRule,
  index: number,
  rows: number,
  cols: number,
): number {
  return amplitude * Math.cos((frequency * (index + shift)) / divisor(name, axis, rows, cols) + phase)
}

/**
 * The rules that waves measured on one grid agree with, likeliest first. Sines and cosines of a coordinate begin at a phase that the
 * coordinate of the first patch gives, up to quarter turns; and rows and columns have the same frequencies where both are divided by
 * their lengths.
 *
 * @param grid the grid that the coordinates were made for
 * @param tolerance radians
 */
export function agreeing(
  waves: readonly Wave[],
  grid: { readonly rows: number; readonly cols: number },
  tolerance: number,
): CoordinateRule[] {
  const begins = (first: (axis: Wave['axis']) => number) =>
    waves.every(
      ({ axis, step, phase }) => axis === 'none' || offMultiple(phase - step * first(axis), Math.PI / 2) < tolerance,
    )
  const centred = (name: Coordinates) => begins((axis) => (1 - divisor(name, axis, grid.rows, grid.cols)) / 2)
  return COORDINATE_RULES.filter(({ name, shift }) => {
    if (name === 'index') return [0, 0.5, 1].some((first) => begins(() => first))
    if (!sameFrequencies(waves, name, grid)) return false
    if (name === 'stretch') return begins(() => shift)
    return centred(name === 'corners' ? 'separate' : name)
  })
}

function sameFrequencies(
  waves: readonly Wave[],
  name: Coordinates,
  { rows, cols }: { readonly rows: number; readonly cols: number },
): boolean {
  const sorted = (axis: Wave['axis']) =>
    waves
      .filter((wave) => wave.axis === axis)
      .map(({ step }) => Math.abs(step) * divisor(name, axis, rows, cols))
      .sort((a, b) => a - b)
  const [down, across] = [sorted('rows'), sorted('cols')]
  return down.length === across.length && down.every((f, i) => Math.abs(f - (across[i] ?? 0)) <= 1e-3 * f)
}

/** The grid whose middle the coordinates of waves measured on any grid are counted from; null where they are counted from none. */
export function centreOf(waves: readonly Wave[], tolerance: number): { rows: number; cols: number } | null {
  const lengthOf = (axis: Wave['axis']): number | null => {
    const own = waves.filter((wave) => wave.axis === axis)
    const fits = (length: number) =>
      own.every(({ step, phase }) => offMultiple(phase - (step * (1 - length)) / 2, Math.PI / 2) < tolerance)
    for (let length = 1; length <= LONGEST; length += 1) if (fits(length)) return length
    return null
  }
  const [rows, cols] = [lengthOf('rows'), lengthOf('cols')]
  return rows === null || cols === null ? null : { rows, cols }
}

/** Patches along an axis of an export at most. */
const LONGEST = 1024
