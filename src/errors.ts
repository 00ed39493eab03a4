/** Stable codes of every error that vitpass raises on purpose; README.md, "Exit codes and errors", lists them for users. */
export type ErrorCode =
  | 'USAGE'
  | 'FILE_NOT_FOUND'
  | 'FILE_UNREADABLE'
  | 'FILE_UNWRITABLE'
  | 'NOT_ONNX'
  | 'MODEL_TRUNCATED'
  | 'MODEL_INVALID'
  | 'MODEL_UNSUPPORTED'
  | 'EXTERNAL_DATA'
  | 'UNKNOWN_PASS'
  | 'UNKNOWN_OPTION'
  | 'BAD_OPTION'
  | 'PASS_REFUSED'
  | 'PASS_BROKE_GRAPH'
  | 'VERIFY_FAILED'
  | 'CONFIG_INVALID'
  | 'CONFIG_UNSUPPORTED'
  | 'IMAGE_UNREADABLE'
  | 'IMAGE_TOO_LARGE'
  | 'RUNTIME_MISSING'
  | 'RUNTIME_FAILED'
  | 'BAD_IMAGE'
  | 'INTERNAL'

export interface ErrorDetail {
  /** The pass that was running. */
  readonly pass?: string
  /** The node (its name, or its first output's name) that the error is about. */
  readonly node?: string
  /** The file or input that the error is about. */
  readonly where?: string
  /** What the user can do about it. */
  readonly remedy?: string
  readonly cause?: unknown
}

/** The only exception that vitpass throws on purpose: what was found, where, and what to do about it. */
export class VitpassError extends Error {
  readonly code: ErrorCode
  readonly pass: string | undefined
  readonly node: string | undefined
  readonly where: string | undefined
  readonly remedy: string | undefined

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'VitpassError'
    this.code = code
    this.pass = detail.pass
    this.node = detail.node
    this.where = detail.where
    this.remedy = detail.remedy
  }

  /** The same error, told with the pass in which it arose. */
  withPass(pass: string): VitpassError {
    if (this.pass !== undefined) return this
    return new VitpassError(this.code, this.message, { ...this.detail(), pass, cause: this })
  }

  private detail(): ErrorDetail {
    return {
      ...(this.node === undefined ? {} : { node: this.node }),
      ...(this.where === undefined ? {} : { where: this.where }),
      ...(this.remedy === undefined ? {} : { remedy: this.remedy }),
    }
  }

  /** One line for a person: `where: what (pass p, node n); do this`. */
  line(): string {
    const place = [this.pass && `pass ${this.pass}`, this.node && `node ${this.node}`].filter(Boolean).join(', ')
    const head = this.where === undefined ? this.message : `${this.where}: ${this.message}`
    return `${head}${place === '' ? '' : ` (${place})`}${this.remedy === undefined ? '' : `; ${this.remedy}`}`
  }
}
