/** Lets as much work in at a time as the limits say, first come first served; one piece always gets in, however large. */
export class Gate {
  private readonly mostRuns: number
  private readonly mostBytes: number
  private readonly queue: { readonly bytes: number; readonly enter: () => void }[] = []
  private runs = 0
  private bytes = 0

  constructor(mostRuns: number, mostBytes: number) {
    this.mostRuns = mostRuns
    this.mostBytes = mostBytes
  }

  enter(bytes: number): Promise<void> {
    return new Promise((enter) => {
      this.queue.push({ bytes, enter })
      this.admit()
    })
  }

  leave(bytes: number): void {
    this.runs -= 1
    this.bytes -= bytes
    this.admit()
  }

  private admit(): void {
    for (;;) {
      const [next] = this.queue
      if (next === undefined || this.runs >= this.mostRuns) return
      if (this.runs > 0 && this.bytes + next.bytes > this.mostBytes) return
      this.queue.shift()
      this.runs += 1
      this.bytes += next.bytes
      next.enter()
    }
  }
}
