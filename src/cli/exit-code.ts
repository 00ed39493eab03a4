import type { ErrorCode } from '../errors.ts'

/** What the process answers with; the README lists them for users. */
export const EXIT = { done: 0, failed: 1, usage: 2, notApplied: 3, notVerified: 4 } as const

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  USAGE: EXIT.usage,
  UNKNOWN_PASS: EXIT.usage,
  UNKNOWN_OPTION: EXIT.usage,
  BAD_OPTION: EXIT.usage,
  PASS_REFUSED: EXIT.notApplied,
  VERIFY_FAILED: EXIT.notVerified,
}

/** The exit code that an error ends the process with. */
export function exitCodeFor(code: ErrorCode): number {
  return BY_CODE[code] ?? EXIT.failed
}
