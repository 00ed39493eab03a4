import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { Size } from '../src/runtime/index.ts'

/** PyTorch in a process of its own, which runs the same sizes once whenever it is asked. */
export class TorchPeer {
  private readonly child: ChildProcess & { readonly stdin: Writable; readonly stdout: Readable }
  private readonly lines: AsyncIterator<string>

  /** @param python an interpreter with torch and transformers */
  constructor(python: string, sizes: readonly Size[]) {
    const script = join(import.meta.dirname, 'peers', 'torch_grouped.py')
    this.child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
    this.child.stdin.write(`${JSON.stringify(sizes.map(({ height, width }) => [height, width]))}\n`)
  }

  /** Milliseconds of one run, as PyTorch's process measures them. */
  async run(): Promise<number> {
    this.child.stdin.write('\n')
    const { value, done } = await this.lines.next()
    if (done === true) throw new Error('the PyTorch process has ended')
    return Number(value)
  }

  async close(): Promise<void> {
    this.child.stdin.end()
    await once(this.child, 'close')
  }
}
