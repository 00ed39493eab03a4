import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, VitpassError } from '../errors.ts'
import type { VerifyReport } from './report.ts'
import type { Step, VerifyOptions } from './verify.ts'

/** What the child process is asked. */
export interface VerifyRequest {
  readonly original: string
  readonly transformed: string
  readonly options: VerifyOptions
}

/** What it answers: any number of steps, and then a report or an error. */
export type VerifyMessage =
  | { readonly kind: 'step'; readonly step: Step }
  | { readonly kind: 'report'; readonly report: VerifyReport }
  | { readonly kind: 'error'; readonly error: SentError }

export interface SentError {
  readonly code: ErrorCode
  readonly message: string
  readonly node?: string
  readonly where?: string
  readonly remedy?: string
  readonly stack?: string
}

export interface ChildSettings {
  /** The child's program, if not the usual one. */
  readonly entry?: string
  /** Told what is done at the moment. */
  readonly onStep?: (step: Step) => void
}

/** The child's program, beside this file or, where this one is bundled with the command line, in the same place. */
function program(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`../verify/child.${extension}`, import.meta.url))
}

/**
 * `verifyModels` in a process of its own, so that a crash of ONNX Runtime is an error like others.
 * @throws VitpassError as `verifyModels`; VERIFY_FAILED where the runtime crashes on the transformed model, RUNTIME_FAILED elsewhere
 */
export function verifyInChild(
  original: string,
  transformed: string,
  options: VerifyOptions = {},
  { entry = program(), onStep = () => {} }: ChildSettings = {},
): Promise<VerifyReport> {
  const child = fork(entry, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], serialization: 'advanced' })
  const answer = waitFor(child, { original, transformed }, onStep)
  const request: VerifyRequest = { original, transformed, options }
  child.send(request)
  return answer
}

function waitFor(
  child: ChildProcess,
  paths: Readonly<Record<Step['model'], string>>,
  onStep: (step: Step) => void,
): Promise<VerifyReport> {
  return new Promise((resolve, reject) => {
    let step: Step | null = null
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = `${said}${text}`.slice(-2000)
    })
    child.on('message', (message: VerifyMessage) => {
      if (message.kind === 'step') {
        step = message.step
        onStep(step)
      } else if (message.kind === 'report') resolve(message.report)
      else reject(receivedError(message.error))
    })
    child.on('error', reject)
    // By now every message has arrived, so one that settles this promise did it before.
    child.on('close', (code, signal) => reject(crash(signal ?? `exit code ${code}`, step, paths, said)))
  })
}

function receivedError({ code, message, stack, ...detail }: SentError): VitpassError {
  return new VitpassError(code, message, { ...detail, ...(stack === undefined ? {} : { cause: stack }) })
}

function crash(
  ending: string,
  step: Step | null,
  paths: Readonly<Record<Step['model'], string>>,
  said: string,
): VitpassError {
  const last = said.trim().split('\n').at(-1)?.trim() ?? ''
  const detail = `${ending}${last === '' ? '' : `: ${last.slice(0, 200)}`}`
  if (step === null) return new VitpassError('RUNTIME_FAILED', `the process that verifies ended early (${detail})`)
  const code = step.model === 'transformed' ? 'VERIFY_FAILED' : 'RUNTIME_FAILED'
  return new VitpassError(code, `ONNX Runtime crashed while ${step.doing} (${detail})`, { where: paths[step.model] })
}
