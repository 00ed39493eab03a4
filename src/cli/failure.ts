import { VitpassError } from '../errors.ts'
import { EXIT, exitCodeFor } from './exit-code.ts'

/** A command that failed after it had something to report: `--json` prints that next to the error. */
export class CommandFailure extends Error {
  readonly document: object

  constructor(failure: VitpassError, document: object) {
    super('the command failed', { cause: failure })
    this.document = document
  }
}

/** Any exception as the error that the user is told. What vitpass did not raise on purpose is its own bug. */
export function toVitpassError(error: unknown): VitpassError {
  if (error instanceof VitpassError) return error
  const what = error instanceof Error ? error.message : String(error)
  return new VitpassError('INTERNAL', `this is a bug in vitpass: ${what}`, {
    remedy: 'please report it, with the stack that VITPASS_DEBUG=1 shows',
    cause: error,
  })
}

/** The same error, told with the model that it is about, unless it names a file already or the command line is to blame. */
export function withModel(error: unknown, model: string): VitpassError {
  const known = toVitpassError(error)
  if (known.where !== undefined || exitCodeFor(known.code) === EXIT.usage) return known
  const { code, message, pass, node, remedy } = known
  return new VitpassError(code, message, {
    where: model,
    ...(pass === undefined ? {} : { pass }),
    ...(node === undefined ? {} : { node }),
    ...(remedy === undefined ? {} : { remedy }),
    cause: error,
  })
}

/** What `--json` prints when a command fails: the error (null for what it does not say), and the report so far. */
export function failureDocument(error: VitpassError, document: object = {}): object {
  const { code, message, pass = null, node = null, where = null, remedy = null } = error
  return { error: { code, message, pass, node, where, remedy }, ...document }
}
