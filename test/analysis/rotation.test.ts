import { describe, expect, it } from 'vitest'
import { agreeing, centreOf, divisor, freed, freeWaveAt } from '../../src/analysis/coordinates.ts'
import { readRotation } from '../../src/analysis/rotation.ts'
import { fitWave, type GridTable, profiles } from '../../src/analysis/waves.ts'
import { CHANNELS, rotationTables, waveAt } from '../support/drawn-rotary.ts'
import { fromHalves, toHalves } from '../support/float16.ts'

const table = (rows: number, cols: number, data: Float64Array): GridTable => ({ rows, cols, channels: CHANNELS, data })

/** Steps of the first six channels: three of rows, three of columns. */
function stepsOf(rows: number, cols: number, tolerance = 1e-9, spoil: (cos: Float64Array) => void = () => {}) {
  const { cos, sin } = rotationTables('separate', { rows, cols })
  spoil(cos)
  const waves = readRotation(table(rows, cols, cos), table(rows, cols, sin), tolerance)
  return waves?.slice(0, 6).map(({ axis, step }) => ({ axis, step }))
}

describe('a wave of samples', () => {
  it.each([3, 1, 0.3, 0.01, 1e-4])('of %f radians a step is fitted', (step) => {
    const wave = { axis: 'rows', step, phase: 0.7, amplitude: 2 } as const
    const values = Array.from({ length: 23 }, (_, i) => waveAt(wave, i))
    const found = fitWave({ axis: 'rows', values })
    for (const i of [0, 1, 22, 40]) expect(waveAt(found, i)).toBeCloseTo(waveAt(wave, i), 6)
  })

  it('follows rows, columns, neither, or both', () => {
    const of = (f: (row: number, col: number) => number) =>
      profiles(
        {
          rows: 3,
          cols: 4,
          channels: 1,
          data: Float64Array.from({ length: 12 }, (_, i) => f(Math.floor(i / 4), i % 4)),
        },
        1e-9,
      )
    expect(of((row) => row)).toEqual([{ axis: 'rows', values: [0, 1, 2] }])
    expect(of((_, col) => col)).toEqual([{ axis: 'cols', values: [0, 1, 2, 3] }])
    expect(of(() => 5)).toEqual([{ axis: 'none', values: [5] }])
    expect(of((row, col) => row + col)).toBeNull()
    expect(of((row) => row / row)).toBeNull()
  })
})

describe('a rotation', () => {
  it.each([
    [3, 5],
    [4, 4],
    [14, 14],
  ])('of %i x %i patches tells its angles, also those of more than half a turn', (rows, cols) => {
    const wanted = [rows, cols].flatMap((n) => [1, 0.1, 0.01].map((f) => (4 * Math.PI * f) / n))
    const found = stepsOf(rows, cols)
    expect(found?.map(({ axis }) => axis)).toEqual(['rows', 'rows', 'rows', 'cols', 'cols', 'cols'])
    for (const [i, step] of wanted.entries()) expect(found?.[i]?.step).toBeCloseTo(step, 6)
  })

  it('is none where a number is off, or where angles turn wholly between patches', () => {
    expect(stepsOf(3, 5, 1e-9, (cos) => cos.set([2], 7))).toBeUndefined()
    expect(stepsOf(2, 2)).toBeUndefined()
    expect(stepsOf(1, 5)).toBeUndefined()
  })

  it.each([
    [14, 14, 'separate'],
    [3, 5, 'max'],
    [4, 4, 'stretch'],
  ] as const)('of %i x %i patches in half precision is read, as %s', (rows, cols, name) => {
    const { cos, sin } = rotationTables(name, { rows, cols })
    const [a, b] = [cos, sin].map((x) =>
      table(rows, cols, Float64Array.from(fromHalves(toHalves(Float32Array.from(x))))),
    )
    if (a === undefined || b === undefined) expect.fail('two tables')
    const waves = readRotation(a, b, 6e-4) ?? expect.fail('no rotation')
    expect(agreeing(waves, { rows, cols }, 5e-3).map((rule) => rule.name)).toContain(name)
    for (const [channel, wave] of waves.entries()) {
      const index = wave.axis === 'rows' ? rows - 1 : cols - 1
      const wanted = cos[(rows * cols - 1) * CHANNELS + channel] ?? Number.NaN
      expect(Math.abs(waveAt(wave, index) - wanted)).toBeLessThan(1e-3)
    }
  })

  it('may have its tables in either order', () => {
    const { cos, sin } = rotationTables('separate', { rows: 3, cols: 5 })
    const waves = readRotation(table(3, 5, sin), table(3, 5, cos), 1e-9) ?? []
    for (const [channel, wave] of waves.entries()) {
      const index = wave.axis === 'rows' ? 2 : 4
      expect(waveAt(wave, index)).toBeCloseTo(sin[14 * CHANNELS + channel] ?? Number.NaN, 6)
    }
    expect(waves).toHaveLength(CHANNELS)
  })
})

describe('coordinates', () => {
  const wavesOf = (name: Parameters<typeof rotationTables>[0], rows: number, cols: number) => {
    const { cos, sin } = rotationTables(name, { rows, cols })
    return readRotation(table(rows, cols, cos), table(rows, cols, sin), 1e-9) ?? expect.fail('no rotation')
  }

  it.each([
    ['separate', 3, 5, ['separate']],
    ['max', 3, 5, ['max']],
    ['min', 3, 5, ['min']],
    ['corners', 4, 6, ['corners']],
    ['separate', 4, 4, ['separate', 'max', 'min', 'corners']],
    ['index', 3, 5, ['index']],
    ['index', 4, 4, ['index', 'stretch']],
    ['stretch', 3, 5, ['index', 'stretch']],
  ] as const)('of %s at %i x %i patches are %j', (name, rows, cols, fits) => {
    const found = agreeing(wavesOf(name, rows, cols), { rows, cols }, 1e-5)
    expect(found.map((rule) => rule.name)).toEqual(fits)
  })

  it.each([
    [3, 5],
    [14, 9],
  ])('are centred on a grid of %i x %i whatever grid shows them', (rows, cols) => {
    expect(centreOf(wavesOf('separate', rows, cols), 1e-5)).toEqual({ rows, cols })
  })

  it('freed from one grid give the table of another', () => {
    const [rule] = agreeing(wavesOf('separate', 3, 5), { rows: 3, cols: 5 }, 1e-5)
    if (rule === undefined) expect.fail('no rule')
    const { cos } = rotationTables('separate', { rows: 7, cols: 2 })
    for (const [channel, wave] of wavesOf('separate', 3, 5).entries()) {
      const free = freed(wave, rule, 3, 5)
      const index = wave.axis === 'rows' ? 6 : 1
      expect(freeWaveAt(free, rule, index, 7, 2)).toBeCloseTo(cos[13 * CHANNELS + channel] ?? Number.NaN, 6)
    }
    expect(divisor('corners', 'rows', 1, 4)).toBe(1)
  })
})
