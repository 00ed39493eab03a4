import { describe, expect, it } from 'vitest'
import { showProgress } from '../../src/cli/progress.ts'
import { screen } from './screen.ts'

const LARGE = 345_000_000

describe('progress', () => {
  it('fills a bar on a terminal while a large file is written, and clears it away', async () => {
    const { stream, drawn } = screen(true)
    const progress = await showProgress(stream)
    progress.onProgress(0, LARGE)
    expect(drawn()).toMatch(/writing \[-+\] 0%/)
    progress.onProgress(LARGE, LARGE)
    progress.stop()
    expect(drawn()).toMatch(/writing \[=+\] 100%/)
    // The last that is drawn is the erasure of the line.
    expect(drawn().slice(drawn().lastIndexOf('100%'))).toContain('\u001B[')
  })

  it.each([
    ['elsewhere than on a terminal', false, LARGE],
    ['for a file that is written before a bar can be read', true, 1_000_000],
  ])('stays silent %s', async (_, terminal, total) => {
    const { stream, drawn } = screen(terminal)
    const progress = await showProgress(stream)
    progress.onProgress(0, total)
    progress.onProgress(total, total)
    progress.stop()
    expect(drawn()).toBe('')
  })
})
