import { VitpassError } from '../errors.ts'
import type { SentError, VerifyMessage, VerifyRequest } from './in-child.ts'
import { verifyModels } from './verify.ts'

/* The program of the process in which models are run: it takes one request and answers it. */

function send(message: VerifyMessage): Promise<void> {
  return new Promise((resolve) => process.send?.(message, () => resolve()))
}

function toSend(thrown: unknown): SentError {
  if (!(thrown instanceof VitpassError)) {
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    const stack = thrown instanceof Error && thrown.stack !== undefined ? { stack: thrown.stack } : {}
    return { code: 'INTERNAL', message: `this is a bug in vitpass: ${message}`, ...stack }
  }
  const { code, message, node, where, remedy } = thrown
  return {
    code,
    message,
    ...(node === undefined ? {} : { node }),
    ...(where === undefined ? {} : { where }),
    ...(remedy === undefined ? {} : { remedy }),
  }
}

process.once('message', async ({ original, transformed, options }: VerifyRequest) => {
  const onStep = (step: Extract<VerifyMessage, { kind: 'step' }>['step']) => void send({ kind: 'step', step })
  try {
    await send({ kind: 'report', report: await verifyModels(original, transformed, options, onStep) })
  } catch (thrown) {
    await send({ kind: 'error', error: toSend(thrown) })
  }
  if (process.connected) process.disconnect()
})
// Whoever asked is gone.
process.once('disconnect', () => process.exit())
