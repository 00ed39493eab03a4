import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { expectedImage, farthest, IMAGES } from '../support/images.ts'
import { OrtRunner } from '../support/ort.ts'
import { readSafetensors } from '../support/safetensors.ts'
import { FIXTURE, MAIN, shell, temporaryFolder, vitpass } from './command.ts'

const GOOD = ['grey.jpg', 'plain.png', 'plain.tiff', 'turned.jpg']
const BAD = ['bomb.png', 'cut.jpg', 'no-image.jpg']
const CONFIG = { do_resize: true, size: { height: 64, width: 64 }, resample: 2, image_mean: 0.5, image_std: 0.5 }

/** A folder with a padding-proof model, a config beside it, and images. */
function workFolder(images: readonly string[] = GOOD): string {
  const folder = temporaryFolder()
  copyFileSync(FIXTURE, join(folder, 'original.onnx'))
  expect(vitpass(['run', 'original.onnx', '-p', 'mask,posenc,zero', '-o', 'vit.onnx'], { cwd: folder }).code).toBe(0)
  writeFileSync(join(folder, 'preprocessor_config.json'), JSON.stringify(CONFIG))
  mkdirSync(join(folder, 'images'))
  for (const name of images) copyFileSync(join(IMAGES, name), join(folder, 'images', name))
  return folder
}

/** Rows of a .npy file of format 1.0, read without vitpass. */
function readNpy(path: string): { rows: number; features: number; data: Float32Array } {
  const file = readFileSync(path)
  expect(file.toString('latin1', 0, 8)).toBe('\x93NUMPY\x01\x00')
  const start = 10 + file.readUInt16LE(8)
  expect(start % 64).toBe(0)
  const [, rows, features] =
    /^\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d+), (\d+)\), \} *\n$/.exec(
      file.toString('latin1', 10, start),
    ) ?? []
  const data = new Float32Array(new Uint8Array(file.subarray(start)).buffer)
  expect(data).toHaveLength(Number(rows) * Number(features))
  return { rows: Number(rows), features: Number(features), data }
}

const namesOf = (path: string): string[] => JSON.parse(readFileSync(path, 'utf8'))

/** What the untouched export answers for one image alone, cut to whole patches as the model does. */
async function alone(pixels: Float32Array, height: number, width: number): Promise<Float32Array> {
  const [rows, cols] = [height - (height % 16), width - (width % 16)]
  const data = new Float32Array(3 * rows * cols)
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < rows; y++) {
      const from = (c * height + y) * width
      data.set(pixels.subarray(from, from + cols), (c * rows + y) * cols)
    }
  const runner = await OrtRunner.open(FIXTURE)
  const outputs = await runner.run({ pixel_values: { data, dims: [1, 3, rows, cols] } })
  await runner.close()
  return outputs.get('pooler_output')?.data ?? new Float32Array()
}

describe('vitpass encode', () => {
  let folder: string
  beforeAll(() => {
    expect(existsSync(MAIN)).toBe(true)
  })

  it('gives each image what the original gives for it alone, and its name', async () => {
    folder = workFolder()
    const { code, stdout, stderr } = vitpass(['encode', 'vit.onnx', 'images', '-o', 'out.npy'], { cwd: folder })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^out\.npy: 4 rows of 32\nout\.names\.json: their names\nmasked on cpu, /)
    const { rows, features, data } = readNpy(join(folder, 'out.npy'))
    expect({ rows, features }).toEqual({ rows: 4, features: 32 })
    expect(namesOf(join(folder, 'out.names.json'))).toEqual(GOOD.map((name) => join('images', name)))
    // transformers' own numbers for plain.png at its own size
    const { data: pixels, dims } = expectedImage('prepared.kept')
    const wanted = await alone(pixels, dims[1] ?? 0, dims[2] ?? 0)
    expect(farthest(data.subarray(32, 64), wanted)).toBeLessThan(1e-4)
    expect(farthest(data.subarray(64, 96), wanted)).toBeLessThan(1e-4)
    expect(readdirSync(folder).sort()).toEqual(
      ['images', 'original.onnx', 'out.names.json', 'out.npy', 'preprocessor_config.json', 'vit.onnx'].sort(),
    )
  })

  it('resizes as the config says where it is asked to, and for models of one size by itself', async () => {
    folder = workFolder(['plain.png'])
    const resized = { ...CONFIG, size: { height: 20, width: 36 }, image_mean: 0.4, image_std: 0.25 }
    writeFileSync(join(folder, 'other.json'), JSON.stringify(resized))
    const args = ['-o', 'out.npy', '--preprocessor', 'other.json']
    const { data: pixels } = expectedImage('prepared.one-mean')
    const wanted = await alone(pixels, 20, 36)
    for (const more of [['vit.onnx', '--resize', 'config'], ['original.onnx']]) {
      expect(vitpass(['encode', ...more, 'images/plain.png', ...args], { cwd: folder }).code).toBe(0)
      expect(farthest(readNpy(join(folder, 'out.npy')).data, wanted)).toBeLessThan(1e-4)
    }
  })

  it('writes the same rows in every format', () => {
    folder = workFolder()
    for (const output of ['out.npy', 'out.safetensors', 'out.jsonl']) {
      expect(vitpass(['encode', 'vit.onnx', 'images', '-o', output], { cwd: folder }).code).toBe(0)
    }
    const { data } = readNpy(join(folder, 'out.npy'))
    const names = namesOf(join(folder, 'out.names.json'))
    const tensors = readSafetensors(join(folder, 'out.safetensors'))
    expect(tensors.get('embeddings')?.dims).toEqual([4, 32])
    expect(tensors.get('embeddings')?.data).toEqual(data)
    const nameBytes = Uint8Array.from(tensors.get('names')?.data ?? [])
    expect(JSON.parse(new TextDecoder().decode(nameBytes))).toEqual(names)
    const lines = readFileSync(join(folder, 'out.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ name }) => name)).toEqual(names)
    expect(Float32Array.from(lines.flatMap(({ embedding }) => embedding))).toEqual(data)
  })

  it('takes patterns, lists and stdin, in the order in which they are given', () => {
    folder = workFolder()
    writeFileSync(join(folder, 'list.txt'), 'images/turned.jpg\r\n\nimages/plain.png\n')
    const names = (sources: string): string[] => {
      expect(shell(`$VITPASS encode vit.onnx ${sources} -o out.npy`, { cwd: folder }).code).toBe(0)
      return namesOf(join(folder, 'out.names.json')).map((name) => name.replace('images/', ''))
    }
    expect(names("'images/*.{tiff,jpg}'")).toEqual(['plain.tiff', 'grey.jpg', 'turned.jpg'])
    expect(names("'**/pl??n.[pt]*'")).toEqual(['plain.png', 'plain.tiff'])
    expect(names('list.txt images/grey.jpg')).toEqual(['turned.jpg', 'plain.png', 'grey.jpg'])
    expect(names('- < list.txt')).toEqual(['turned.jpg', 'plain.png'])
    expect(names('images/plain.png images/plain.png')).toEqual(['plain.png', 'plain.png'])
  })

  it('leaves out what it cannot encode, names it, and ends with 1', () => {
    folder = workFolder([...GOOD, ...BAD])
    const { code, stdout, stderr } = vitpass(['encode', 'vit.onnx', 'images', 'images/absent.png', '-o', 'out.npy'], {
      cwd: folder,
    })
    expect(code).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/^vitpass: images\/absent\.png: there is no such file or folder; [^\n]+\n$/)

    const second = vitpass(['encode', 'vit.onnx', 'images', '-o', 'out.npy'], { cwd: folder })
    expect(second.code).toBe(1)
    expect(second.stdout).toMatch(/^out\.npy: 4 rows of 32 \(3 images left out\)$/m)
    for (const name of BAD) {
      expect(second.stderr).toMatch(new RegExp(`^vitpass: left out: images/${name}: [^\\n]+; [^\\n]+$`, 'm'))
    }
    expect(namesOf(join(folder, 'out.names.json'))).toEqual(GOOD.map((name) => join('images', name)))
  })

  it('tells the same as one JSON document', () => {
    folder = workFolder(['plain.png', 'cut.jpg'])
    writeFileSync(join(folder, 'images', 'small.png'), readFileSync(join(IMAGES, 'plain.png')))
    const args = ['encode', 'vit.onnx', 'images', '-o', 'out.jsonl', '--json', '--max-pixels', '1290']
    const { code, stdout } = vitpass(args, { cwd: folder })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      rows: 2,
      features: 32,
      failures: 1,
      failed: [{ name: 'images/cut.jpg', code: 'IMAGE_UNREADABLE' }],
      provider: 'cpu',
      strategy: { kind: 'masked' },
      outputs: ['out.jsonl'],
    })
    const none = vitpass([...args.slice(0, -1), '100'], { cwd: folder })
    expect(JSON.parse(none.stdout)).toMatchObject({ rows: 0, failures: 3 })
    expect(
      JSON.parse(none.stdout)
        .failed.map(({ code }: { code: string }) => code)
        .sort(),
    ).toEqual(['BAD_IMAGE', 'BAD_IMAGE', 'IMAGE_UNREADABLE'])
  })

  it('stops at the first bad image with --strict, and leaves the old output alone', () => {
    folder = workFolder(['grey.jpg', 'cut.jpg'])
    writeFileSync(join(folder, 'out.npy'), 'old')
    const { code, stdout, stderr } = vitpass(['encode', 'vit.onnx', 'images', '-o', 'out.npy', '--strict'], {
      cwd: folder,
    })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^vitpass: images\/cut\.jpg: the image is damaged [^\n]+\n$/)
    expect(readFileSync(join(folder, 'out.npy'), 'utf8')).toBe('old')
    expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([])
  })

  it('writes a file without rows where there is no image', () => {
    folder = workFolder([])
    for (const output of ['out.npy', 'out.safetensors', 'out.jsonl']) {
      expect(vitpass(['encode', 'vit.onnx', 'images', '-o', output], { cwd: folder }).code).toBe(0)
    }
    expect(readNpy(join(folder, 'out.npy'))).toMatchObject({ rows: 0, features: 32 })
    expect(namesOf(join(folder, 'out.names.json'))).toEqual([])
    expect(readSafetensors(join(folder, 'out.safetensors')).get('embeddings')?.dims).toEqual([0, 32])
    expect(readFileSync(join(folder, 'out.jsonl'), 'utf8')).toBe('')
  })

  it('says what it assumes where there is no config', () => {
    folder = workFolder(['plain.png'])
    const bare = join(folder, 'bare')
    mkdirSync(bare)
    copyFileSync(join(folder, 'vit.onnx'), join(bare, 'vit.onnx'))
    const plain = vitpass(['encode', 'bare/vit.onnx', 'images', '-o', 'out.jsonl'], { cwd: folder })
    expect(plain.code).toBe(0)
    expect(plain.stderr).toMatch(/^vitpass: note: there is no preprocessor_config\.json [^\n]+\n$/)
    const told = vitpass(['encode', 'bare/vit.onnx', 'images', '-o', 'b.jsonl', '--mean=0.5', '--std=0.5,0.5,0.5'], {
      cwd: folder,
    })
    expect(told.stderr).toBe('')
    expect(readFileSync(join(folder, 'b.jsonl'), 'utf8')).toBe(readFileSync(join(folder, 'out.jsonl'), 'utf8'))
  })

  it.each(['out.npy', 'out.safetensors', 'out.jsonl'])('goes on with %s where a killed run ended', async (output) => {
    folder = workFolder()
    const paths = Array.from({ length: 3000 }, (_, i) => `images/${GOOD[i % GOOD.length]}`)
    writeFileSync(join(folder, 'list.txt'), paths.join('\n'))
    const child = spawn(process.execPath, [MAIN, 'encode', 'vit.onnx', '-', '-o', output], {
      cwd: folder,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    // Its input stays open, so that it cannot come to its end.
    child.stdin.write(paths.slice(0, 2500).join('\n'))
    const partial = join(folder, `${output}.partial`)
    // A row takes at most 400 bytes, as a line of JSON.
    while (!existsSync(partial) || statSync(partial).size < 60_000) await new Promise((done) => setTimeout(done, 20))
    child.kill('SIGKILL')
    await new Promise((done) => child.once('exit', done))
    expect(existsSync(join(folder, output))).toBe(false)

    const other = vitpass(['encode', 'vit.onnx', 'list.txt', '-o', output, '--resume', '--mean', '0.4'], {
      cwd: folder,
    })
    expect(other.code).toBe(2)
    expect(other.stderr).toMatch(/made with another preprocessing/)

    const { code, stdout } = vitpass(['encode', 'vit.onnx', 'list.txt', '-o', output, '--resume', '--json'], {
      cwd: folder,
    })
    expect(code).toBe(0)
    const report = JSON.parse(stdout)
    expect(report.rows).toBe(3000)
    expect(report.resumed).toBeGreaterThan(100)
    expect(vitpass(['encode', 'vit.onnx', 'list.txt', '-o', `whole-${output}`], { cwd: folder }).code).toBe(0)
    expect(readFileSync(join(folder, output)).equals(readFileSync(join(folder, `whole-${output}`)))).toBe(true)
    expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([])
  })

  it.each([
    [['vit.onnx', 'images'], /--output is missing/],
    [['vit.onnx', '-o', 'out.npy'], /no images are given/],
    [['vit.onnx', 'images', '-o', 'out.csv'], /the output cannot be "out\.csv"; .*\.npy/],
    [['vit.onnx', 'images', '-o', 'o.npy', '--threads', '0'], /--threads cannot be "0"/],
    [['vit.onnx', 'images', '-o', 'o.npy', '--resize', 'huge'], /--resize cannot be "huge"/],
    [['vit.onnx', 'images', '-o', 'o.npy', '--mean', '1,x'], /--mean cannot be "1,x"/],
    [['vit.onnx', 'images', '-o', 'o.npy', '--std', '1,2'], /--std has 2 numbers/],
  ])('%j is wrong usage', (args, message) => {
    folder = workFolder(['plain.png'])
    const { code, stderr } = vitpass(['encode', ...args], { cwd: folder })
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
  })
})
