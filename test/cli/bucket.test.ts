import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { HINTS_KEY, readHints } from '../../src/batching/hints.ts'
import { parseTable } from '../../src/cli/bucket-sizes.ts'
import { readModel } from '../../src/onnx/node.ts'
import { textModel } from '../support/other-models.ts'
import { FIXTURE, ROOT, snapshot, temporaryFolder, vitpass } from './command.ts'

const SIZES = [
  [64, 64, 10],
  [60, 120],
  [200, 33, 4],
  [33, 200, 4],
]

/** A folder with a model, `sizes.json`, and other files of text. */
function workFolder(files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const folder = temporaryFolder()
  copyFileSync(FIXTURE, join(folder, 'vit.onnx'))
  for (const [name, content] of Object.entries({ 'sizes.json': JSON.stringify(SIZES), ...files })) {
    writeFileSync(join(folder, name), content)
  }
  return folder
}

function bucket(cwd: string, ...args: readonly string[]) {
  return vitpass(['bucket', 'vit.onnx', ...args], { cwd })
}

/** One line for a person, and nothing written. */
function expectFailure(folder: string, args: readonly string[], code: number, message: RegExp): void {
  const before = snapshot(folder)
  const answer = bucket(folder, ...args)
  expect(answer.stderr).toMatch(/^vitpass: [^\n]+\n$/)
  expect(answer.stderr).toMatch(message)
  expect({ code: answer.code, stdout: answer.stdout }).toEqual({ code, stdout: '' })
  expect(snapshot(folder)).toEqual(before)
}

describe('vitpass bucket', () => {
  it('writes the model with its buckets, and tells them', async () => {
    const folder = workFolder()
    const { code, stdout, stderr } = bucket(folder, '--sizes', 'sizes.json', '-o', 'out.onnx', '--max-buckets', '3')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^vit\.onnx: 19 images of 4 sizes in sizes\.json$/m)
    expect(stdout).toMatch(/^bucket +batch +images +tokens +padding$/m)
    expect(stdout).toMatch(/^all +19 +\d+\.\d %$/m)
    expect(stdout).toMatch(/^no other choice of so many buckets costs less$/m)
    expect(stdout).toMatch(/^bucket: mask and posenc did not run: padding changes what this model answers$/m)
    expect(stdout).toMatch(/^wrote out\.onnx \(\d+ kB\)$/m)
    const hints = readHints((await readModel(join(folder, 'out.onnx'))).metadata.get(HINTS_KEY))
    expect(hints?.buckets.length).toBeLessThanOrEqual(3)
    for (const [height = 0, width = 0] of SIZES) {
      expect(hints?.buckets.some((own) => own.height >= height && own.width >= width)).toBe(true)
    }
    for (const { height, width } of hints?.buckets ?? []) {
      expect(stdout).toMatch(new RegExp(`^${height}x${width} +16 `, 'm'))
    }
  })

  it('prints one JSON document, and writes hints and a picture', async () => {
    const folder = workFolder()
    const extras = ['--hints', 'hints.json', '--svg', 'picture.svg', '--batch', '6', '--json']
    const { code, stdout, stderr } = bucket(folder, '--sizes', 'sizes.json', ...extras)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(Object.keys(snapshot(folder)).sort()).toEqual([
      'hints.json',
      'picture.svg',
      'sizes.json',
      'vit.onnx',
      'vit.vitpass.onnx',
    ])
    const document = JSON.parse(stdout)
    expect(document).toMatchObject({
      model: 'vit.onnx',
      output: 'vit.vitpass.onnx',
      dryRun: false,
      sizes: { from: 'sizes.json', images: 19, distinct: 4, unreadable: [] },
    })
    expect(document.bytes).toBe(readFileSync(join(folder, 'vit.vitpass.onnx')).length)
    expect(document.passes.at(-1)).toMatchObject({ pass: 'bucket', status: 'applied' })
    expect(JSON.parse(readFileSync(join(folder, 'hints.json'), 'utf8'))).toEqual(document.hints)
    const shapes = document.hints.buckets.map(({ height, width }: { height: number; width: number }) => {
      return `pixel_values:6x3x${height}x${width}`
    })
    expect(document.tensorrt.trt_profile_max_shapes).toBe(shapes.join(','))
    const svg = readFileSync(join(folder, 'picture.svg'), 'utf8')
    expect(svg.match(/<rect class="bucket"/g)).toHaveLength(document.hints.buckets.length)
    expect(svg.match(/<circle /g)).toHaveLength(SIZES.length)
    for (const { height, width } of document.hints.buckets) expect(svg).toContain(`>${height}x${width}<`)
    const { width = 0, height = 0 } = await sharp(Buffer.from(svg)).png().metadata()
    expect(Math.min(width, height)).toBeGreaterThan(300)
  })

  it('prints the options of the TensorRT provider, with all inputs', () => {
    const folder = workFolder()
    const sized = ['run', 'vit.onnx', '-p', 'padproof', '--option', 'mask.source=sizes']
    expect(vitpass(sized, { cwd: folder }).code).toBe(0)
    const args = [
      'bucket',
      'vit.vitpass.onnx',
      '--sizes',
      'sizes.json',
      '-o',
      'out.onnx',
      '--max-buckets',
      '1',
      '--trt',
    ]
    const { stdout, stderr } = vitpass(args, { cwd: folder })
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^trt_profile_min_shapes=pixel_values:1x3x208x208,image_sizes:1x2$/m)
    expect(stdout).toMatch(/^trt_profile_opt_shapes=pixel_values:16x3x208x208,image_sizes:16x2$/m)
    expect(stdout).toMatch(/^trt_profile_max_shapes=pixel_values:16x3x208x208,image_sizes:16x2$/m)
    expect(stdout).not.toContain('did not run')
  })

  it('does the same twice, and plans anew for other sizes', async () => {
    const folder = workFolder({ 'other.csv': '300,20\n20,300\n' })
    const args = (model: string, sizes: string, output: string) => ['bucket', model, '--sizes', sizes, '-o', output]
    expect(vitpass(args('vit.onnx', 'sizes.json', 'a.onnx'), { cwd: folder }).code).toBe(0)
    const again = vitpass([...args('a.onnx', 'sizes.json', 'b.onnx'), '--json'], { cwd: folder })
    expect(JSON.parse(again.stdout).passes.at(-1).status).toBe('already')
    expect(snapshot(folder)['b.onnx']).toBe(snapshot(folder)['a.onnx'])
    expect(vitpass(args('b.onnx', 'other.csv', 'c.onnx'), { cwd: folder }).code).toBe(0)
    expect(vitpass(args('vit.onnx', 'other.csv', 'd.onnx'), { cwd: folder }).code).toBe(0)
    const [c, d] = await Promise.all(['c.onnx', 'd.onnx'].map((name) => readModel(join(folder, name))))
    expect(c?.metadata.get(HINTS_KEY)).toBe(d?.metadata.get(HINTS_KEY))
    expect(c?.metadata.get('vitpass')).toBe(d?.metadata.get('vitpass'))
  })

  it('reads sizes from a folder of images, and skips what is none', async () => {
    const folder = workFolder()
    mkdirSync(join(folder, 'images', 'more'), { recursive: true })
    const image = sharp({ create: { width: 96, height: 32, channels: 3, background: '#123' } }).jpeg()
    await image.clone().toFile(join(folder, 'images', 'a.jpg'))
    await image
      .clone()
      .withMetadata({ orientation: 6 })
      .toFile(join(folder, 'images', 'more', 'turned.jpg'))
    writeFileSync(join(folder, 'images', 'bad.jpg'), 'no image')
    const { code, stdout, stderr } = bucket(folder, '--sizes', 'images', '--json', '--dry-run')
    expect(code).toBe(0)
    expect(stderr).toMatch(/^vitpass: images\/bad\.jpg: skipped, as it cannot be read \(.+\)\n$/)
    const { sizes, hints } = JSON.parse(stdout)
    expect(sizes).toMatchObject({ images: 2, distinct: 2, unreadable: [{ path: 'images/bad.jpg' }] })
    expect(hints.buckets[0].height).toBeGreaterThanOrEqual(hints.buckets.length === 1 ? 96 : 32)
  })

  it('times the model on this machine', () => {
    const folder = workFolder()
    const { code, stdout, stderr } = bucket(folder, '--sizes', 'sizes.json', '--calibrate', '--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { calibration, hints } = JSON.parse(stdout)
    expect(calibration.calls.length).toBeGreaterThan(3)
    expect(hints.cost).toEqual(calibration.cost)
    expect(hints.expected.cost).toBeGreaterThan(0)
    expect(Object.keys(snapshot(folder)).sort()).toEqual(['sizes.json', 'vit.onnx', 'vit.vitpass.onnx'])
    const told = bucket(folder, '--sizes', 'sizes.json', '--calibrate', '--dry-run').stdout
    expect(told).toMatch(/^measured on \d+ calls: .+ a token, .+ a pair of tokens, .+ a call; all images: .+s$/m)
  })

  it('plans for images cut to whole patches, and advises to', () => {
    const folder = workFolder()
    const plain = bucket(folder, '--sizes', 'sizes.json', '--dry-run').stdout
    expect(plain).toMatch(/^in 9 images the last patch is only begun: .+\(--crop\)$/m)
    expect(plain).toMatch(/^208x208 |^208x48 /m)
    const cropped = bucket(folder, '--sizes', 'sizes.json', '--dry-run', '--crop').stdout
    expect(cropped).not.toContain('only begun')
    expect(cropped).toMatch(/^192x32 /m)
    expect(cropped).not.toContain('208')
    const tiny = workFolder({ 'sizes.json': '[[64, 15]]' })
    expectFailure(tiny, ['--sizes', 'sizes.json', '--crop'], 2, /64x15 is smaller than a patch of 16x16/)
  })

  it('writes nothing in a dry run', () => {
    const folder = workFolder()
    const before = snapshot(folder)
    const { code, stdout } = bucket(folder, '--sizes', 'sizes.json', '--svg', 'a.svg', '--hints', 'a.json', '--dry-run')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^nothing written: dry run$/m)
    expect(snapshot(folder)).toEqual(before)
  })
})

describe('sizes that cannot be read', () => {
  it.each([
    ['empty.json', '[]', /empty\.json: there are no sizes in it/],
    ['empty.csv', '\n\n', /empty\.csv: there are no sizes in it/],
    ['head.csv', 'height,width\n', /head\.csv: there are no sizes in it/],
    ['words.json', '[[64, "wide"]]', /words\.json: entry 1 of the list is \[64,"wide"\]/],
    ['broken.json', '[[64, 64]', /broken\.json: the list is no JSON/],
    ['object.json', '{"height": 64}', /object\.json: the list is no list|object\.json: the list is/],
    ['zero.csv', '64,64\n0,64\n', /zero\.csv:2: "0,64" is no size/],
    ['text.csv', '64,64\n64,wide\n', /text\.csv:2: "64,wide" is no size/],
    ['short.csv', '64\n', /short\.csv:1: "64" is no size/],
    ['columns.csv', 'name,size\na.jpg,64\n', /columns\.csv: its first line names no height and width/],
  ])('%s', (name, content, message) => {
    const folder = workFolder({ [name]: content })
    expectFailure(folder, ['--sizes', name, '-o', 'out.onnx'], 1, message)
  })

  it('no such file, and a folder without images', () => {
    const folder = workFolder()
    mkdirSync(join(folder, 'nothing'))
    expectFailure(folder, ['--sizes', 'none.csv'], 1, /none\.csv: there is no such file or folder/)
    expectFailure(folder, ['--sizes', 'nothing'], 1, /nothing: there are no images in it/)
  })

  it.each([
    [['--max-buckets', '0'], /--max-buckets cannot be "0"; give a whole number from 1/],
    [['--max-buckets', 'few'], /--max-buckets cannot be "few"/],
    [['--batch', '1.5'], /--batch cannot be "1\.5"/],
    [['--batch-tokens=-1'], /--batch-tokens cannot be "-1"/],
    [['-o', 'vit.onnx'], /vit\.onnx: -o is the input itself/],
    [['--svg', 'a', '--hints', 'a'], /a: --hints and --svg are one file/],
    [['-o', 'out', '--svg', 'out'], /out: --svg and -o are one file/],
    [['--hints', 'sizes.json'], /sizes\.json: --hints and --sizes are one file/],
  ])('%j', (args, message) => {
    expectFailure(workFolder(), ['--sizes', 'sizes.json', ...args], 2, message)
  })

  it('without --sizes', () => {
    expectFailure(workFolder(), [], 2, /--sizes is missing; see vitpass bucket --help/)
  })
})

describe('a model that buckets do not fit', () => {
  it('takes one size, and an image is larger', () => {
    const folder = workFolder()
    copyFileSync(join(ROOT, 'fixtures', 'vit-p16-g4', 'ts14-sdpa-static.onnx'), join(folder, 'vit.onnx'))
    expectFailure(folder, ['--sizes', 'sizes.json'], 3, /does not fit 64x64, the only size that the model takes/)
  })

  it.each([[[]], [['--calibrate']]])('is no vision transformer %j', (more) => {
    const folder = workFolder({ 'vit.onnx': textModel() })
    expectFailure(folder, ['--sizes', 'sizes.json', ...more], 3, /no image input/)
  })

  it('with --json tells the error and what was read', () => {
    const folder = workFolder({ 'vit.onnx': textModel() })
    const { code, stdout } = bucket(folder, '--sizes', 'sizes.json', '--json')
    expect(code).toBe(3)
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'PASS_REFUSED', where: 'vit.onnx' },
      output: null,
      sizes: { images: 19 },
    })
  })
})

describe('parseTable', () => {
  it.each([
    [
      '64,32\n64,32,5\n',
      [
        [64, 32, 1],
        [64, 32, 5],
      ],
    ],
    ['\uFEFFignored', null],
    ['64;32;2\r\n', [[64, 32, 2]]],
    ['64\t32', [[64, 32, 1]]],
    [
      'name,Width,"Height",n\na.jpg,32,64,3\n"b.jpg","16","8",\n',
      [
        [64, 32, 3],
        [8, 16, 1],
      ],
    ],
    ['h,w\n1,2', [[1, 2, 1]]],
  ])('%j', (text, expected) => {
    const read = (): number[][] => parseTable(text, 'a.csv').map(({ height, width, count }) => [height, width, count])
    if (expected === null) expect(read).toThrow(expect.objectContaining({ code: 'FILE_UNREADABLE' }))
    else expect(read()).toEqual(expected)
  })
})
