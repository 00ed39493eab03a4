import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp, { type Sharp } from 'sharp'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readImageSizes } from '../../src/runtime/image-sizes.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'vitpass-sizes-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const picture = (width: number, height: number): Sharp =>
  sharp({ create: { width, height, channels: 3, background: '#369' } })

describe('readImageSizes', () => {
  it('reads every kind of image in a folder and below it, as each is to be seen', async () => {
    const root = folder()
    mkdirSync(join(root, 'below', 'deeper'), { recursive: true })
    await picture(40, 30).png().toFile(join(root, 'a.PNG'))
    await picture(41, 31)
      .webp()
      .toFile(join(root, 'below', 'b.webp'))
    await picture(42, 32)
      .tiff()
      .toFile(join(root, 'below', 'deeper', 'c.tif'))
    for (let orientation = 1; orientation <= 8; orientation += 1) {
      await picture(50, 20)
        .jpeg()
        .withMetadata({ orientation })
        .toFile(join(root, `exif-${orientation}.jpg`))
    }
    const frames = await Promise.all([1, 2, 3].map(() => picture(24, 12).png().toBuffer()))
    await sharp(frames, { join: { animated: true } })
      .gif()
      .toFile(join(root, 'frames.gif'))
    writeFileSync(join(root, 'notes.txt'), 'no image')
    const { images, unreadable } = await readImageSizes(root)
    expect(unreadable).toEqual([])
    expect(images.map(({ path, height, width }) => [path.slice(root.length + 1), height, width])).toEqual([
      ['a.PNG', 30, 40],
      ['below/b.webp', 31, 41],
      ['below/deeper/c.tif', 32, 42],
      ...[1, 2, 3, 4].map((orientation) => [`exif-${orientation}.jpg`, 20, 50]),
      ...[5, 6, 7, 8].map((orientation) => [`exif-${orientation}.jpg`, 50, 20]),
      ['frames.gif', 12, 24],
    ])
  })

  it('agrees with what decoding gives', async () => {
    const root = folder()
    await picture(50, 20).jpeg().withMetadata({ orientation: 6 }).toFile(join(root, 'turned.jpg'))
    const { images } = await readImageSizes(root)
    const { info } = await sharp(join(root, 'turned.jpg')).rotate().raw().toBuffer({ resolveWithObject: true })
    expect(images).toMatchObject([{ height: info.height, width: info.width }])
  })

  it('needs no pixels: a file cut off behind its header will do', async () => {
    const root = folder()
    const whole = await picture(2000, 1000).jpeg({ quality: 100 }).toBuffer()
    writeFileSync(join(root, 'cut.jpg'), whole.subarray(0, 700))
    expect((await readImageSizes(root)).images).toMatchObject([{ height: 1000, width: 2000 }])
  })

  it('names files that are no images, and goes on', async () => {
    const root = folder()
    await picture(8, 8).png().toFile(join(root, 'good.png'))
    writeFileSync(join(root, 'empty.jpg'), '')
    writeFileSync(join(root, 'text.png'), 'once upon a time')
    writeFileSync(join(root, 'cut.png'), readFileSync(join(root, 'good.png')).subarray(0, 10))
    symlinkSync(join(root, 'nowhere'), join(root, 'broken.webp'))
    const steps: number[] = []
    const { images, unreadable } = await readImageSizes(root, (done, total) => steps.push(done / total))
    expect(images.map(({ height }) => height)).toEqual([8])
    expect(unreadable.map(({ path }) => path.slice(root.length + 1))).toEqual([
      'broken.webp',
      'cut.png',
      'empty.jpg',
      'text.png',
    ])
    for (const { reason } of unreadable) expect(reason).toMatch(/^\S.{5,}/)
    expect(steps).toEqual([0.2, 0.4, 0.6, 0.8, 1])
  })

  it('finds nothing in an empty folder, and says so of one that is not there', async () => {
    expect(await readImageSizes(folder())).toEqual({ images: [], unreadable: [] })
    await expect(readImageSizes(join(folder(), 'none'))).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
  })
})
