import { describe, expect, it } from 'vitest'
import { encodeProgress } from '../../src/cli/encode-progress.ts'
import { screen } from './screen.ts'

describe('encodeProgress', () => {
  it('tells images, images a second and the time left on a terminal', async () => {
    const { stream, drawn } = screen(true)
    const progress = await encodeProgress(stream, async () => 4)
    progress.step()
    expect(drawn()).toMatch(/encoding \[=+-+\] 25% \| 1 images \| \S+ images\/s \| \d+ (s|min|h).* left/)
    progress.clear()
    expect(drawn().slice(drawn().lastIndexOf('left'))).toContain('\u001B[')
  })

  it('leaves out what cannot be known where images come from stdin', async () => {
    const { stream, drawn } = screen(true)
    const progress = await encodeProgress(stream, async () => null)
    progress.step()
    progress.clear()
    expect(drawn()).toMatch(/encoding \| 1 images \| \S+ images\/s/)
    expect(drawn()).not.toMatch(/left|%/)
  })

  it('stays silent, and counts nothing, elsewhere', async () => {
    const { stream, drawn } = screen(false)
    const progress = await encodeProgress(stream, () => expect.fail('it is not needed'))
    progress.step()
    progress.clear()
    expect(drawn()).toBe('')
  })
})
