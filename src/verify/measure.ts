import type { Dense } from '../runtime/session.ts'

/** How one property came out on one model. */
export interface Measured {
  readonly name: string
  /** The largest difference met; infinite where shapes differ, a value is not a number, or a run failed. */
  readonly worst: number
  readonly tolerance: number
  readonly ok: boolean
  /** Where the largest difference is, or why the run failed. */
  readonly at: string
}

/** Collects the largest difference over many comparisons, and where it was. */
export class Worst {
  value = 0
  at = ''

  /**
   * Elements of `actual` against those of `expected`.
   * @param name of the tensor, and `of` whom, for messages
   * @param unit what the difference at an expected element is divided by: 1 for absolute differences
   */
  compare(
    actual: Dense,
    expected: Dense,
    { name, of }: { readonly name: string; readonly of: string },
    unit: (expected: number) => number = () => 1,
  ): void {
    if (expected.dims.join() !== actual.dims.join()) {
      this.fail(`${name} of ${of} is [${actual.dims.join(', ')}] instead of [${expected.dims.join(', ')}]`)
      return
    }
    for (let i = 0; i < actual.data.length; i++) {
      const got = actual.data[i] ?? Number.NaN
      const wanted = expected.data[i] ?? Number.NaN
      const difference = got === wanted ? 0 : Math.abs(got - wanted) / unit(wanted)
      if (difference <= this.value) continue
      this.value = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference
      this.at = `${name}[${indexOf(i, actual.dims).join(', ')}] of ${of} is ${shown(got)} instead of ${shown(wanted)}`
    }
  }

  /** Takes note of values that should all be exactly 0. */
  requireZero(values: Float32Array, what: string): void {
    for (const value of values) {
      const size = Math.abs(value)
      if (size <= this.value) continue
      this.value = Number.isNaN(size) ? Number.POSITIVE_INFINITY : size
      this.at = `${what} is ${shown(value)} instead of 0`
    }
  }

  fail(why: string): void {
    this.value = Number.POSITIVE_INFINITY
    this.at = why
  }
}

/** Measures one property; a thrown error counts as an infinite difference. */
export async function measure(
  name: string,
  tolerance: number,
  body: (worst: Worst) => Promise<void>,
): Promise<Measured> {
  const worst = new Worst()
  try {
    await body(worst)
  } catch (error) {
    worst.fail((error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' '))
  }
  return { name, worst: worst.value, tolerance, ok: worst.value <= tolerance, at: worst.at }
}

/**
 * Absolute differences for values of order one, relative ones beyond: by an element's own size, or by the root mean square of the whole where
 * that is larger, so that a width of large numbers does not blame its small ones for rounding.
 */
export function unitsOf({ data }: Dense): (expected: number) => number {
  let squares = 0
  for (const value of data) squares += value * value
  const floor = Math.max(1, Math.sqrt(squares / Math.max(1, data.length)))
  return (expected) => Math.max(floor, Math.abs(expected))
}

function indexOf(flat: number, dims: readonly number[]): number[] {
  const index: number[] = []
  let rest = flat
  for (const dim of dims.toReversed()) {
    index.unshift(rest % dim)
    rest = Math.floor(rest / dim)
  }
  return index
}

function shown(value: number): string {
  return String(Number(value.toPrecision(6)))
}
