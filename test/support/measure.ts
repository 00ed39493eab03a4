import type { Measured } from '../../src/verify/measure.ts'

export { type Measured, measure, Worst } from '../../src/verify/measure.ts'

/** One line for a person. */
export function describeMeasured(measured: Measured): string {
  const { name, worst, tolerance, at } = measured
  return `${name}: ${worst.toPrecision(3)} > ${tolerance} at ${at}`
}
