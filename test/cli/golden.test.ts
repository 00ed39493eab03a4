import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { OrtRunner } from '../support/ort.ts'
import { readSafetensors } from '../support/safetensors.ts'
import { type Answer, FIXTURE, ROOT, snapshot, temporaryFolder, vitpass } from './command.ts'

interface Described {
  origin: Record<string, unknown>
  models: Record<string, unknown>[]
}

/** Copies a case with one of its exports beside it into `golden/<as>`, its description changed, and gives the case's folder. */
function copyCase(
  folder: string,
  name: string,
  file: string,
  { as = name, change = () => {} }: { as?: string; change?: (described: Described) => void } = {},
): string {
  const target = join(folder, 'golden', as)
  cpSync(join(ROOT, 'golden', name), target, { recursive: true })
  copyFileSync(join(ROOT, 'fixtures', name, file), join(target, file))
  const described: Described = JSON.parse(readFileSync(join(target, 'case.json'), 'utf8'))
  described.models = described.models.filter((model) => basename(String(model.file)) === file)
  expect(described.models).toHaveLength(1)
  for (const model of described.models) model.file = file
  change(described)
  writeFileSync(join(target, 'case.json'), JSON.stringify(described))
  return target
}

const copyVit = (folder: string, as = 'vit', change: (described: Described) => void = () => {}): string =>
  copyCase(folder, 'vit-p16-g4', 'ts17-eager-interp.onnx', { as, change })

/** Adds to one element of a tensor of the case. */
function spoilTensor(target: string, name: string, by: number): void {
  const path = join(target, 'tensors.safetensors')
  const file = readFileSync(path)
  const start = 8 + Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, start))
  const at = start + header[name].data_offsets[0]
  file.writeFloatLE(file.readFloatLE(at) + by, at)
  writeFileSync(path, file)
}

function workFolder(): string {
  const folder = temporaryFolder()
  copyFileSync(FIXTURE, join(folder, 'vit.onnx'))
  return folder
}

const record = (folder: string, ...more: string[]): Answer =>
  vitpass(['golden', 'record', 'golden/own', 'vit.onnx', ...more], { cwd: folder })

const check = (folder: string, ...more: string[]): Answer =>
  vitpass(['golden', 'check', 'golden', ...more], { cwd: folder })

describe('vitpass golden check', () => {
  it('holds rewritten, refused and native exports against their goldens, and writes nothing', () => {
    const folder = temporaryFolder()
    copyVit(folder)
    copyCase(folder, 'refuse-pvt', 'ts14-eager-static.onnx')
    copyCase(folder, 'idefics2-p4-g6', 'ts17-pixel-mask-tokens.onnx')
    copyCase(folder, 'navit-p4-g6', 'dynamo20-packed.onnx')
    copyCase(folder, 'pixtral-p4-g6', 'ts17-image-sizes-tokens-bare.onnx')
    copyCase(folder, 'vit-p8-g2-relu', 'ts12-eager-interp-ir3.onnx')
    const before = snapshot(folder)
    const { code, stdout, stderr } = check(folder)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^case +export +worst +tolerance +result$/m)
    expect(stdout).toMatch(/^vit +ts17-eager-interp\.onnx +\S+e-\d +1e-4 +ok$/m)
    expect(stdout).toMatch(/^refuse-pvt +ts14-eager-static\.onnx +ok, refused: .*node Conv /m)
    expect(stdout).toMatch(/^idefics2-p4-g6 +\S+ +\S+e-\d +1e-4 +ok$/m)
    expect(stdout).toMatch(/^navit-p4-g6 +\S+ +\S+e-\d +1e-4 +ok, refused: /m)
    expect(stdout).toMatch(/^6 exports in golden on cpu: 6 ok, /m)
    expect(snapshot(folder)).toEqual(before)
  })

  it.each(['mask.source=sizes', 'mask.mode=patch'])('takes the option %s', (option) => {
    const folder = temporaryFolder()
    copyVit(folder)
    const { code, stdout } = check(folder, '--option', option, '--json')
    expect(code).toBe(0)
    const [result] = JSON.parse(stdout).results
    const extra = option === 'mask.source=sizes' ? 'noise in the padding' : 'zero patch is hidden'
    expect(result.checks.map(({ name }: { name: string }) => name)).toContain(extra)
  })

  it.each([
    ['an answer that is another', 'golden', (target: string) => spoilTensor(target, 'pooler_output.1', 1e-3)],
    ['an image that is another', 'golden', (target: string) => spoilTensor(target, 'image.0', 3)],
  ])('finds %s', (_, name, spoil) => {
    const folder = temporaryFolder()
    spoil(copyVit(folder))
    copyVit(folder, 'right')
    const { code, stdout, stderr } = check(folder)
    expect(code).toBe(4)
    expect(stdout).toMatch(new RegExp(`^vit +ts17-eager-interp\\.onnx +\\S+ +1e-4 +failed: ${name} \\(\\w+\\[`, 'm'))
    expect(stdout).toMatch(/^right +ts17-eager-interp\.onnx +\S+ +1e-4 +ok$/m)
    expect(stderr).toBe(
      'vitpass: golden: 1 export failed: vit/ts17-eager-interp.onnx; the table tells what differs and where\n',
    )
  })

  it('finds a graph that is rewritten wrongly', () => {
    const folder = temporaryFolder()
    copyVit(folder, 'vit', ({ models }) => {
      for (const model of models) model.options = { posenc: { kind: 'bilinear' } }
    })
    const { code, stdout } = check(folder, '--json')
    expect(code).toBe(4)
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'VERIFY_FAILED' },
      passed: false,
      results: [{ case: 'vit', export: 'ts17-eager-interp.onnx', status: 'failed' }],
    })
  })

  it('fails where a pass should refuse and does not, and the other way round', () => {
    const folder = temporaryFolder()
    copyVit(folder, 'vit', ({ origin }) => {
      origin.refuse = 'its windows attend apart'
    })
    copyCase(folder, 'refuse-pvt', 'ts14-eager-static.onnx', {
      as: 'pvt',
      change: ({ origin }) => {
        delete origin.refuse
      },
    })
    const { code, stdout } = check(folder)
    expect(code).toBe(4)
    expect(stdout).toMatch(/^vit .* failed: no pass refuses it, though its windows attend apart$/m)
    expect(stdout).toMatch(/^pvt .* failed: a convolution after the patch embedding /m)
  })

  it('ends with 1 for what cannot be read, and checks the rest', () => {
    const folder = temporaryFolder()
    copyVit(folder, 'right')
    copyVit(folder, 'missing', ({ models }) => {
      for (const model of models) model.file = 'none.onnx'
    })
    const cut = copyVit(folder, 'cut')
    const tensors = join(cut, 'tensors.safetensors')
    writeFileSync(tensors, readFileSync(tensors).subarray(0, 10_000))
    writeFileSync(join(copyVit(folder, 'text'), 'case.json'), 'no JSON')
    copyVit(folder, 'no-tolerance', (described) => Object.assign(described, { tolerance: {} }))
    copyVit(folder, 'no-axes', (described) => Object.assign(described, { layouts: { pooler_output: 'fixed' } }))
    const before = check(folder)
    expect(before.code).toBe(1)
    expect(before.stdout).toMatch(/^right .* ok$/m)
    expect(before.stdout).toMatch(/^missing +none\.onnx +unreadable: .*there is no such file/m)
    expect(before.stdout).toMatch(/^cut +unreadable: .*tensor \S+ lies beyond the end of the file/m)
    expect(before.stdout).toMatch(/^text +unreadable: .*it cannot be read as JSON/m)
    expect(before.stdout).toMatch(/^no-axes +unreadable: .*layouts does not give a list of axes/m)
    expect(before.stdout).toMatch(/^no-tolerance +unreadable: .*tolerance has none for fp32/m)
    expect(before.stderr).toMatch(
      /^vitpass: golden: cut, missing\/none\.onnx, no-axes, no-tolerance, text could not be checked;/,
    )
    spoilTensor(join(folder, 'golden', 'right'), 'pooler_output.0', 1)
    expect(check(folder).code).toBe(4)
  })

  it('blames the provider, not the models', () => {
    const folder = temporaryFolder()
    copyVit(folder)
    copyCase(folder, 'idefics2-p4-g6', 'ts17-pixel-mask-tokens.onnx')
    const { code, stdout } = check(folder, '--provider', 'nope')
    expect(code).toBe(1)
    expect(stdout).toMatch(/2 exports in golden on nope: 0 ok, 2 unreadable, /)
  })

  it.each([
    [['golden', 'check', 'none'], 1, /^vitpass: none: there is no case in it /],
    [['golden', 'check', 'golden', '--option', 'mask.foo=1'], 2, /^vitpass: pass mask has no option "foo"; /],
    [['golden', 'check', 'golden', '--option', 'mask.tol=1'], 2, /^vitpass: goldens are checked with padding of exact/],
    [
      ['golden', 'record', 'golden/own'],
      2,
      /^vitpass: the folder or the model is missing; see vitpass golden --help\n/,
    ],
    [['golden', 'frob'], 2, /^vitpass: check or record is missing; see vitpass golden --help\n/],
  ])('%s is an error of one line', (args, code, line) => {
    const folder = temporaryFolder()
    copyVit(folder)
    const answer = vitpass(args, { cwd: folder })
    expect(answer).toMatchObject({ code, stdout: '' })
    expect(answer.stderr).toMatch(line)
  })
})

describe('vitpass golden record', () => {
  it('keeps what the export answers for each image alone, and check holds it against that', async () => {
    const folder = workFolder()
    const { code, stdout } = record(folder)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^wrote golden\/own: last_hidden_state, pooler_output of vit\.onnx for 6 images \(64x64 native,/,
    )
    const tensors = readSafetensors(join(folder, 'golden', 'own', 'tensors.safetensors'))
    expect(tensors.size).toBe(18)
    const runner = await OrtRunner.open(FIXTURE)
    try {
      for (let i = 0; i < 6; i++) {
        const { data, dims } = tensors.get(`image.${i}`) ?? expect.fail(`there is no image ${i}`)
        const answers = await runner.run({ pixel_values: { data, dims: [1, ...dims] } })
        for (const [name, answer] of answers) {
          const kept = tensors.get(`output.${name}.${i}`)
          expect([1, ...(kept?.dims ?? [])]).toEqual(answer.dims)
          expect(kept?.data).toEqual(answer.data)
        }
      }
    } finally {
      await runner.close()
    }
    for (const more of [[], ['--option', 'mask.source=sizes'], ['--option', 'mask.mode=patch']]) {
      expect(check(folder, ...more)).toMatchObject({ code: 0, stderr: '' })
    }
    const wrong = check(folder, '--option', 'posenc.kind=bilinear')
    expect(wrong.code).toBe(4)
    expect(wrong.stdout).toMatch(/^own +vit\.onnx +\S+ +1e-4 +failed: golden \(.* of 96x80 is /m)
  })

  it('gives the same case for the same seed and sizes, and never replaces one unasked', () => {
    const folder = workFolder()
    const sizes = ['--sizes', '64x64,40x80']
    expect(record(folder, ...sizes, '--seed', '1').code).toBe(0)
    const first = snapshot(folder)
    expect(record(folder, ...sizes, '--seed', '2')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'vitpass: golden/own/case.json: there is a case already; give another folder, or --force to replace it\n',
    })
    expect(snapshot(folder)).toEqual(first)
    expect(record(folder, ...sizes, '--seed', '1', '--force').code).toBe(0)
    expect(snapshot(folder)).toEqual(first)
    expect(record(folder, ...sizes, '--seed', '2', '--force').code).toBe(0)
    expect(snapshot(folder)['golden/own/tensors.safetensors']).not.toBe(first['golden/own/tensors.safetensors'])
    expect(check(folder, '--option', 'mask.source=sizes').code).toBe(0)
  })

  it('leaves goldens of another maker alone, --force or not', () => {
    const folder = workFolder()
    copyVit(folder, 'own')
    const before = snapshot(folder)
    const { code, stderr } = record(folder, '--force')
    expect(code).toBe(2)
    expect(stderr).toMatch(/case\.json: this case was not made by `vitpass golden record`; /)
    expect(snapshot(folder)).toEqual(before)
  })

  it('records an export of one size at that size, a baked batch, and options that checks need', () => {
    const folder = temporaryFolder()
    const file = join(ROOT, 'fixtures', 'dinov2reg-p14-g5', 'dynamo23-sdpa-static-b2.onnx')
    const args = ['golden', 'record', 'golden/own', file, '--option', 'posenc.kind=aa-cubic', '--json']
    const { code, stdout } = vitpass(args, { cwd: folder })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ images: ['70x70 native', '70x70 interior-zero'] })
    expect(JSON.parse(stdout).notes).toEqual([
      'no image of 42x84, 84x28, 14x14, 98x84: the model takes images of 70x70 only',
    ])
    expect(check(folder)).toMatchObject({ code: 0, stderr: '' })
  })

  it('refuses what is no witness or has no answer, and leaves no trace', () => {
    const folder = workFolder()
    expect(vitpass(['run', 'vit.onnx', '-p', 'padproof', '-o', 'ours.onnx'], { cwd: folder }).code).toBe(0)
    const stripped = readFileSync(join(folder, 'ours.onnx'))
    const key = stripped.indexOf('\x0a\x07vitpass\x12')
    expect(key).toBeGreaterThan(0)
    stripped.write('another', key + 2)
    writeFileSync(join(folder, 'stripped.onnx'), stripped)
    copyFileSync(join(ROOT, 'fixtures', 'vit-p16-g4', 'ts14-sdpa-static.onnx'), join(folder, 'static.onnx'))
    mkdirSync(join(folder, 'empty'))
    const before = snapshot(folder)
    const cases: [string[], number, RegExp][] = [
      [['ours.onnx'], 1, /^vitpass: ours\.onnx: vitpass wrote this model, so its answers are no independent witness; /],
      [['stripped.onnx'], 1, /^vitpass: stripped\.onnx: vitpass wrote this model, /],
      [['none.onnx'], 1, /^vitpass: none\.onnx: there is no such file; /],
      [['static.onnx', '--sizes', '32x32'], 2, /^vitpass: there is no answer for an image of 32x32: the model takes /],
      [['vit.onnx', '--sizes', '8x64'], 2, /image of 8x64: the model has patches of 16x16, larger than the image; /],
      [['vit.onnx', '--seed', 'x'], 2, /^vitpass: --seed cannot be "x"; /],
    ]
    for (const [args, code, line] of cases) {
      const answer = vitpass(['golden', 'record', 'new', ...args], { cwd: folder })
      expect(answer).toMatchObject({ code, stdout: '' })
      expect(answer.stderr).toMatch(line)
    }
    expect(snapshot(folder)).toEqual(before)
  })
})
