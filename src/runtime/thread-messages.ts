import { type ErrorCode, VitpassError } from '../errors.ts'
import type { Ran } from './lane.ts'
import type { SessionOptions } from './session.ts'
import type { Feeds } from './strategy.ts'

/** What a thread starts with. */
export interface ThreadStart {
  readonly source: string | Uint8Array
  readonly options: SessionOptions
}

export type ToThread =
  | { readonly kind: 'run'; readonly id: number; readonly feeds: Feeds; readonly outputs: readonly string[] }
  | { readonly kind: 'close' }

export type FromThread =
  | { readonly kind: 'open' }
  | { readonly kind: 'shut'; readonly error: PlainError }
  | ({ readonly kind: 'ran'; readonly id: number } & Ran)
  | { readonly kind: 'failed'; readonly id: number; readonly error: PlainError }

/** A VitpassError between threads: the class does not survive the way. */
export interface PlainError {
  readonly code: ErrorCode
  readonly message: string
  readonly remedy: string | undefined
}

export function toPlain(error: unknown): PlainError {
  if (error instanceof VitpassError) return { code: error.code, message: error.message, remedy: error.remedy }
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error), remedy: undefined }
}

export function fromPlain({ code, message, remedy }: PlainError): VitpassError {
  return new VitpassError(code, message, remedy === undefined ? {} : { remedy })
}
