/** How one property came out on one model. */
export interface Measured {
  readonly name: string
  /** The largest absolute difference met; infinite where shapes differ, a value is not a number, or a run failed. */
  readonly worst: number
  readonly tolerance: number
  readonly ok: boolean
  /** Where the largest difference is, or why the run failed. */
  readonly at: string
}

/** Collects the largest absolute difference over many comparisons, and where it was. */
export class Worst {
  value = 0
  at = ''

  /** Elements of `actual` against those of `expected`. */
  compare(actual: Float32Array, expected: Float32Array, where: string): void {
    if (expected.length !== actual.length) {
      this.fail(`${where}: ${actual.length} elements instead of ${expected.length}`)
      return
    }
    for (let i = 0; i < actual.length; i++) {
      const got = actual[i] ?? Number.NaN
      const wanted = expected[i] ?? Number.NaN
      const difference = got === wanted ? 0 : Math.abs(got - wanted)
      if (difference <= this.value) continue
      this.value = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference
      this.at = `${where}[${i}] is ${got} instead of ${wanted}`
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

/** One line for a person. */
export function describeMeasured(measured: Measured): string {
  const { name, worst, tolerance, at } = measured
  return `${name}: ${worst.toPrecision(3)} > ${tolerance} at ${at}`
}
