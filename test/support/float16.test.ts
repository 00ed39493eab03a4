import { describe, expect, it } from 'vitest'
import { fromHalf, toHalf } from './float16.ts'

describe('float16', () => {
  it('gives every half back', () => {
    const wrong: number[] = []
    for (let half = 0; half < 0x10000; half++) {
      const value = fromHalf(half)
      if (!Number.isNaN(value) && toHalf(value) !== half) wrong.push(half)
    }
    expect(wrong).toEqual([])
    expect(fromHalf(toHalf(Number.NaN))).toBeNaN()
  })

  it('knows the landmarks', () => {
    expect(fromHalf(0x3c00)).toBe(1)
    expect(fromHalf(0xc000)).toBe(-2)
    expect(fromHalf(0x7bff)).toBe(65504)
    expect(fromHalf(0x0001)).toBe(2 ** -24)
  })

  it('rounds to the nearest, ties to even', () => {
    expect(toHalf(1 + 2 ** -11)).toBe(0x3c00)
    expect(toHalf(1 + 3 * 2 ** -11)).toBe(0x3c02)
    expect(toHalf(1 + 2 ** -11 + 2 ** -20)).toBe(0x3c01)
    expect(toHalf(2 ** -25)).toBe(0)
    expect(toHalf(3 * 2 ** -25)).toBe(2)
    expect(toHalf(65519)).toBe(0x7bff)
    expect(toHalf(65520)).toBe(0x7c00)
    expect(toHalf(-1e9)).toBe(0xfc00)
  })
})
