import { type GridTable, type Profile, profiles, type Wave } from './waves.ts'

/**
 * Reads the angles of a rotation off its two tables on one grid, cosines and sines in either order, as waves of the first. Where an
 * angle moves on by more than half a turn from one patch to the next, the tables alone do not tell by how much: there the series that
 * the slower channels make, each faster than the one before by one ratio, does.
 *
 * @param tolerance how far an element may be from what the angles give
 * @returns null where the tables are no cosines and sines of angles that grow evenly along rows or along columns, or are of too few
 *   patches to tell
 */
export function readRotation(first: GridTable, second: GridTable, tolerance: number): readonly Wave[] | null {
  const [real, imaginary] = [profiles(first, tolerance), profiles(second, tolerance)]
  if (real === null || imaginary === null || real.length !== imaginary.length) return null
  const turns: Turn[] = []
  for (const [channel, profile] of real.entries()) {
    const other = imaginary[channel]
    if (other === undefined) return null
    // A channel that does not change may turn by whole turns from patch to patch: over so few patches nothing tells.
    const turn = turnOf(profile, other, tolerance)
    if (turn === null) return null
    turns.push(turn)
  }
  for (const axis of ['rows', 'cols'] as const) {
    if (!unwind(turns.filter((turn) => turn.axis === axis))) return null
  }
  return turns.map(({ axis, step, phase }) => ({ axis, step, phase, amplitude: 1 }))
}

/** An angle along an axis; the step is settled up to whole turns at first. */
interface Turn {
  readonly axis: Wave['axis']
  step: number
  readonly phase: number
}

function turnOf(real: Profile, imaginary: Profile, tolerance: number): Turn | null {
  const axis = real.axis === 'none' ? imaginary.axis : real.axis
  if (axis === 'none') return null
  if (imaginary.axis !== axis && imaginary.axis !== 'none' && real.axis !== 'none') return null
  const count = Math.max(real.values.length, imaginary.values.length)
  const points = Array.from({ length: count }, (_, i): readonly [number, number] => [
    real.values[real.axis === 'none' ? 0 : i] ?? 0,
    imaginary.values[imaginary.axis === 'none' ? 0 : i] ?? 0,
  ])
  if (points.some(([x, y]) => Math.abs(Math.hypot(x, y) - 1) > 4 * tolerance)) return null
  let [re, im] = [0, 0]
  for (let i = 0; i + 1 < count; i += 1) {
    const [[a, b], [c, d]] = [points[i] ?? [0, 0], points[i + 1] ?? [0, 0]]
    re += a * c + b * d
    im += a * d - b * c
  }
  const coarse = Math.atan2(im, re)
  const line = straighten(points.map(([x, y], i) => Math.atan2(y, x) - coarse * i))
  const [step, phase] = [coarse + line.slope, line.start]
  const isEven = points.every(
    ([x, y], i) => Math.hypot(x - Math.cos(step * i + phase), y - Math.sin(step * i + phase)) < 4 * tolerance,
  )
  return isEven ? { axis, step, phase } : null
}

/** The straight line through angles that differ by whole turns and little more. */
function straighten(angles: readonly number[]): { slope: number; start: number } {
  const [first = 0] = angles
  const turn = 2 * Math.PI
  const near = angles.map((angle) => angle - first - turn * Math.round((angle - first) / turn))
  const mean = near.reduce((a, b) => a + b, 0) / near.length
  const middle = (near.length - 1) / 2
  const spread = near.reduce((sum, _, i) => sum + (i - middle) ** 2, 0)
  const slope = spread === 0 ? 0 : near.reduce((sum, x, i) => sum + (i - middle) * (x - mean), 0) / spread
  return { slope, start: first + mean - slope * middle }
}

/** Fewer frequencies than this leave open which of them have been wound. */
const FEWEST = 3

/** Adds to each step the whole turns that a geometric series asks for. False where the steps make no such series. */
function unwind(turns: readonly Turn[]): boolean {
  const groups: Turn[][] = []
  for (const turn of [...turns].sort((a, b) => Math.abs(a.step) - Math.abs(b.step))) {
    const same = groups.find(([one]) => one !== undefined && isSameStep(one.step, turn.step))
    if (same === undefined) groups.push([turn])
    else same.push(turn)
  }
  // As many channels turn at each frequency; two that only look alike here would be counted as one.
  if (groups.some((group) => group.length !== groups[0]?.length)) return false
  const [slowest, second] = groups.map(([one]) => one?.step ?? 0)
  if (groups.length < FEWEST || slowest === undefined || second === undefined) return false
  const sign = Math.sign(slowest)
  const open = new Set(groups.slice(2))
  let [before, last] = [Math.abs(slowest), Math.abs(second)]
  if (sign * second < 0) return false
  while (open.size > 0) {
    const wanted = (last * last) / before
    const found = [...open]
      .map((group) => ({ group, step: nearest(sign * (group[0]?.step ?? 0), wanted) }))
      .sort((a, b) => Math.abs(a.step - wanted) - Math.abs(b.step - wanted))[0]
    if (found === undefined || Math.abs(found.step - wanted) > SERIES * wanted) return false
    for (const turn of found.group) turn.step = sign * nearest(sign * turn.step, found.step)
    open.delete(found.group)
    before = last
    last = found.step
  }
  return true
}

/** How far a step may be from what the series gives, as a part of it. */
const SERIES = 0.02

function isSameStep(a: number, b: number): boolean {
  const apart = Math.abs(nearest(a, b) - b)
  return apart < 1e-6 + 5e-3 * Math.min(Math.abs(a), Math.abs(b))
}

/** The angle plus the whole turns that bring it closest to another. */
function nearest(angle: number, to: number): number {
  return angle + 2 * Math.PI * Math.round((to - angle) / (2 * Math.PI))
}
