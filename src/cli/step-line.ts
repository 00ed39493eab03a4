/** A line on stderr that says what is being done, and goes away; on a terminal only, elsewhere it stays silent. */
export interface StepLine {
  show(text: string): void
  clear(): void
}

/** @param stream where the line is shown: stderr, so that results on stdout stay clean */
export function stepLine(stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>): StepLine {
  if (!stream.isTTY) return { show: () => {}, clear: () => {} }
  const START_AND_ERASE = '\r\x1b[K'
  return {
    show: (text) => void stream.write(`${START_AND_ERASE}${text.slice(0, Math.max(0, (stream.columns ?? 80) - 1))}`),
    clear: () => void stream.write(START_AND_ERASE),
  }
}
