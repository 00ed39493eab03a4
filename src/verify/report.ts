/** What a model computes in, as far as it limits how well two runs agree. */
export type Precision = 'fp32' | 'fp16' | 'bf16' | 'int8' | 'dynamic int8'

export type CheckStatus = 'ok' | 'failed' | 'not possible'

/** One property, or one image size of it. */
export interface CheckResult {
  readonly check: string
  /** The image, as `64x80` (height and width); null where the check is about all of them. */
  readonly image: string | null
  readonly status: CheckStatus
  /** The largest difference met; null where there is none to tell: no run, another shape, not a number. */
  readonly worst: number | null
  readonly tolerance: number | null
  /** The element that differs most, with both values. */
  readonly where: string | null
  /** Why it failed beyond a difference, or was not possible. */
  readonly reason: string | null
}

export interface VerifyReport {
  readonly original: string
  readonly transformed: string
  readonly providers: readonly string[]
  readonly precision: Precision
  /** True where no check failed, and at least one compared with the original. */
  readonly passed: boolean
  readonly checks: readonly CheckResult[]
  /** What the user should know of what the checks mean for these models. */
  readonly notes: readonly string[]
  readonly seconds: number
}

/** Largest differences that count as equal. */
export interface Tolerances {
  /** Between an image in a padded batch and the original's answer for it alone: positions are interpolated in another way. */
  readonly alone: number
  /** Where the same numbers are computed in another arrangement. */
  readonly same: number
}

const BY_PRECISION: Readonly<Record<Precision, Tolerances>> = {
  fp32: { alone: 1e-4, same: 1e-5 },
  fp16: { alone: 2e-2, same: 1e-2 },
  bf16: { alone: 1e-1, same: 1e-1 },
  int8: { alone: 1e-1, same: 1e-1 },
  'dynamic int8': { alone: 2e-1, same: 2e-1 },
}

export function tolerancesFor(precision: Precision, given: number | undefined): Tolerances {
  return given === undefined ? BY_PRECISION[precision] : { alone: given, same: given }
}
