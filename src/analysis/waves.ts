/** A channel of computed positions: `amplitude * cos(step * i + phase)` at row or column i of the patch grid. */
export interface Wave {
  /** Whether the channel follows rows or columns; `none` for one that is the same at every patch. */
  readonly axis: 'rows' | 'cols' | 'none'
  /** Radians from one patch to the next. */
  readonly step: number
  /** Radians at the first patch. */
  readonly phase: number
  readonly amplitude: number
}

/** A table of positions on one grid: patches in reading order, each with its channels. */
export interface GridTable {
  readonly rows: number
  readonly cols: number
  readonly channels: number
  /** [rows * cols, channels] */
  readonly data: Float64Array
}

/** A channel along one axis: its values, where they do not change along the other axis. */
export interface Profile {
  readonly axis: Wave['axis']
  readonly values: readonly number[]
}

/** Every channel as a function of the row alone or of the column alone; null where one follows both. */
export function profiles(table: GridTable, tolerance: number): readonly Profile[] | null {
  const found: Profile[] = []
  for (let channel = 0; channel < table.channels; channel += 1) {
    const profile = profileOf(table, channel, tolerance)
    if (profile === null) return null
    found.push(profile)
  }
  return found
}

function profileOf({ rows, cols, channels, data }: GridTable, channel: number, tolerance: number): Profile | null {
  const at = (row: number, col: number) => data[(row * cols + col) * channels + channel] ?? Number.NaN
  const byRow = Array.from({ length: rows }, (_, row) => at(row, 0))
  const byCol = Array.from({ length: cols }, (_, col) => at(0, col))
  let [alongRows, alongCols] = [0, 0]
  for (let row = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1) {
      const x = at(row, col)
      if (!Number.isFinite(x)) return null
      alongRows = Math.max(alongRows, Math.abs(x - at(0, col)))
      alongCols = Math.max(alongCols, Math.abs(x - at(row, 0)))
    }
  }
  if (alongRows <= tolerance && alongCols <= tolerance) return { axis: 'none', values: [at(0, 0)] }
  if (alongCols <= tolerance) return { axis: 'rows', values: byRow }
  return alongRows <= tolerance ? { axis: 'cols', values: byCol } : null
}

/** A channel that is the same everywhere. */
function constantWave(value: number): Wave {
  return { axis: 'none', step: 0, phase: 0, amplitude: value }
}

/**
 * Fits a sampled sinusoid of any amplitude and phase. Neighbours of a sinusoid sum to 2 cos(step) times what is between them, which
 * gives the step, up to half a turn; amplitude and phase follow by least squares. Whether it is a sinusoid is left to see.
 */
export function fitWave({ axis, values }: Profile): Wave {
  if (axis === 'none') return constantWave(values[0] ?? 0)
  const coarse = stepOf(values, 1)
  // Samples further apart tell a slow wave's step better.
  const apart = Math.max(1, Math.min(Math.floor(1 / Math.max(coarse, 1e-12)), Math.floor((values.length - 1) / 3)))
  const step = apart > 1 ? stepOf(values, apart) : coarse
  let [cc, cs, ss, cv, sv] = [0, 0, 0, 0, 0]
  for (const [i, v] of values.entries()) {
    const [c, s] = [Math.cos(step * i), Math.sin(step * i)]
    cc += c * c
    cs += c * s
    ss += s * s
    cv += c * v
    sv += s * v
  }
  const determinant = cc * ss - cs * cs
  const [a, b] = [(cv * ss - sv * cs) / determinant, (sv * cc - cv * cs) / determinant]
  return { axis, step, phase: Math.atan2(-b, a), amplitude: Math.hypot(a, b) }
}

function stepOf(values: readonly number[], apart: number): number {
  let [across, own] = [0, 0]
  for (let i = apart; i + apart < values.length; i += 1) {
    const v = values[i] ?? 0
    across += ((values[i - apart] ?? 0) + (values[i + apart] ?? 0)) * v
    own += v * v
  }
  return Math.acos(Math.min(1, Math.max(-1, across / (2 * own)))) / apart
}

/** How far an angle is from the nearest multiple of `part`, in radians. */
export function offMultiple(angle: number, part: number): number {
  return Math.abs(angle - Math.round(angle / part) * part)
}
