import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Whether one of ONNX Runtime's providers runs a model here. */
export interface ProviderProbe {
  readonly provider: string
  readonly works: boolean
  /** ONNX Runtime's words, or how the process ended; null where it works. */
  readonly reason: string | null
  /** Milliseconds for opening a tiny model and running it once; null where it does not work. */
  readonly milliseconds: number | null
}

export interface ProbeRequest {
  readonly provider: string
  /** A model with one input of one float, whose output is that float plus one. */
  readonly model: Uint8Array
}

/** What the child process answers. */
export type ProbeAnswer =
  | { readonly ok: true; readonly milliseconds: number }
  | { readonly ok: false; readonly reason: string }

/** The child's program: found from this file, and from the bundled command line one folder beside. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const CHILD = new URL(`../runtime/provider-probe-child.${EXTENSION}`, import.meta.url)

/** A provider that takes longer does not work for anyone. The first run on a simulated GPU takes seconds. */
const PATIENCE = 60_000

/** Tries a provider for real, in a process of its own: a driver that crashes takes nothing else with it. */
export async function probeProvider(request: ProbeRequest, patience = PATIENCE): Promise<ProviderProbe> {
  const { provider } = request
  const child = fork(fileURLToPath(CHILD), [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), patience)
  try {
    child.send(request)
    const answer = await answerOf(child)
    return answer.ok
      ? { provider, works: true, reason: null, milliseconds: answer.milliseconds }
      : { provider, works: false, reason: answer.reason, milliseconds: null }
  } finally {
    clearTimeout(timer)
  }
}

function answerOf(child: ChildProcess): Promise<ProbeAnswer> {
  return new Promise((resolve) => {
    let answer: ProbeAnswer | null = null
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = `${said}${text}`.slice(-2000)
    })
    child.on('message', (message: ProbeAnswer) => {
      answer = message
    })
    child.on('error', (error) => resolve({ ok: false, reason: error.message }))
    // A crash after the answer, while the provider is shut down, still is one.
    child.on('close', (code, signal) => {
      if (code === 0 && answer !== null) return resolve(answer)
      const last = said.trim().split('\n').at(-1)?.trim() ?? ''
      const ending = signal === null ? `exit code ${code}` : signal
      resolve({ ok: false, reason: `its process ended with ${ending}${last === '' ? '' : `: ${last.slice(0, 200)}`}` })
    })
  })
}
