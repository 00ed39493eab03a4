/** Rows of images seen before, the ones not asked for longest dropped first. */
export class RowCache {
  private readonly rows = new Map<string, Float32Array>()
  private readonly mostBytes: number
  private bytes = 0

  /** @param mostBytes of rows and their names; 0 keeps none */
  constructor(mostBytes: number) {
    this.mostBytes = mostBytes
  }

  get(name: string): Float32Array | undefined {
    const row = this.rows.get(name)
    if (row === undefined) return undefined
    this.rows.delete(name)
    this.rows.set(name, row)
    return row
  }

  set(name: string, row: Float32Array): void {
    if (this.rows.has(name)) return
    this.rows.set(name, row)
    this.bytes += sizeOf(name, row)
    for (const [oldest, dropped] of this.rows) {
      if (this.bytes <= this.mostBytes) break
      this.rows.delete(oldest)
      this.bytes -= sizeOf(oldest, dropped)
    }
  }
}

function sizeOf(name: string, row: Float32Array): number {
  return 2 * name.length + row.byteLength
}
