/** Child process of `probeProvider`: opens a model with one provider, runs it once, and answers. */
import type { ProbeAnswer, ProbeRequest } from './provider-probe.ts'
import { Session } from './session.ts'

async function probe({ provider, model }: ProbeRequest): Promise<ProbeAnswer> {
  const start = performance.now()
  try {
    const session = await Session.open(model, { providers: [provider], threads: 1 })
    const [input] = session.inputs
    if (input === undefined) return { ok: false, reason: 'the model has no input' }
    const outputs = await session.run({ [input]: { data: Float32Array.of(41), dims: [1] } })
    await session.close()
    const [output] = outputs.values()
    if (output?.data[0] !== 42) return { ok: false, reason: `it adds 41 and 1 to ${output?.data[0]}` }
    return { ok: true, milliseconds: performance.now() - start }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { ok: false, reason: message.replace(/^ONNX Runtime does not open it with [^:]*: /, '') }
  }
}

process.once('message', async (request: ProbeRequest) => {
  const answer = await probe(request)
  process.send?.(answer, () => process.disconnect())
})
// Whoever asked is gone.
process.once('disconnect', () => process.exit())
