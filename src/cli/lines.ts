/** A line that ended, and how many bytes there are up to and with its end. */
export interface Line {
  readonly text: string
  readonly end: number
}

/** Lines of a stream of bytes, ended by a line feed and nothing else; what follows the last line feed comes with `whole` false. */
export async function* readLines(
  stream: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<Line & { whole: boolean }> {
  const decoder = new TextDecoder()
  let rest = new Uint8Array()
  let end = 0
  for await (const piece of stream) {
    const chunk = typeof piece === 'string' ? new TextEncoder().encode(piece) : piece
    let from = 0
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, from)) {
      const bytes = joined(rest, chunk.subarray(from, at))
      rest = new Uint8Array()
      end += bytes.length + 1
      from = at + 1
      yield { text: decoder.decode(bytes), end, whole: true }
    }
    rest = joined(rest, chunk.subarray(from))
  }
  if (rest.length > 0) yield { text: decoder.decode(rest), end: end + rest.length, whole: false }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}
