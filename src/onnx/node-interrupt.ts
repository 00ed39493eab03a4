const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** What is to be cleaned up if the process ends now. */
const pending = new Set<() => void>()

/**
 * Runs `cleanUp` if the process ends before the function returned is called: by `process.exit`, or by SIGINT or SIGTERM, unless the program
 * itself listens to them.
 */
export function onInterrupt(cleanUp: () => void): () => void {
  if (pending.size === 0) {
    process.on('exit', cleanAll)
    for (const signal of SIGNALS) process.on(signal, endBy)
  }
  pending.add(cleanUp)
  return () => {
    pending.delete(cleanUp)
    if (pending.size === 0) stopListening()
  }
}

function cleanAll(): void {
  for (const cleanUp of pending) cleanUp()
}

function endBy(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return
  cleanAll()
  stopListening()
  process.kill(process.pid, signal)
}

function stopListening(): void {
  process.off('exit', cleanAll)
  for (const signal of SIGNALS) process.off(signal, endBy)
}
