import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { staticallyReachableFrom } from '../support/imports.ts'
import { FIXTURE, snapshot, temporaryFolder, vitpass } from './command.ts'

const WRONG: readonly (readonly [args: string, stderr: string])[] = [
  ['', 'no command is given; see vitpass --help'],
  [
    'transform m.onnx',
    'there is no command "transform"; known: run, bucket, verify, golden, encode, diff, inspect, passes, doctor',
  ],
  ['--fast', 'no command is given; see vitpass --help'],
  ['run', 'no model is given; see vitpass run --help'],
  ['inspect', 'no model is given; see vitpass inspect --help'],
  ['run m.onnx', '--passes is missing; see vitpass run --help'],
  ['run m.onnx --passes', '--passes needs a value; see vitpass run --help'],
  ['run m.onnx --passes ,', '--passes names no pass; `vitpass passes` lists them'],
  ['run m.onnx --passes mask --fast', 'unknown argument: fast; see vitpass run --help'],
  ['run m.onnx n.onnx --passes mask', 'unknown argument: n.onnx; see vitpass run --help'],
  ['run m.onnx --passes mask -o', '-o needs a value; see vitpass run --help'],
  ['run m.onnx --passes mask -o a -o b', '-o is given 2 times; give it once'],
  ['run m.onnx --passes mask --report m.onnx', 'm.onnx: --report is the input itself; give another path'],
  ['run m.onnx --passes mask -o a --report a', 'a: --report is the output itself; give another path'],
  [
    'run m.onnx --passes blur',
    `there is no pass "blur"; known: ${[...registry.passes.map(({ name }) => name), ...Object.keys(registry.presets)].join(', ')}`,
  ],
  [
    'run m.onnx --passes mask --option mask.colour=red',
    'pass mask has no option "colour"; it takes source, mode, padValue, tol, allowDense',
  ],
  ['run m.onnx --passes mask --option mask.source=exif', 'option mask.source cannot be "exif"; give pixels or sizes'],
  ['run m.onnx --passes mask --option mask.tol=a=b', 'option mask.tol cannot be "a=b"; give a number'],
  [
    'run m.onnx --passes mask --option source=sizes',
    '--option "source=sizes" is not of the form pass.key=value; write it as in --option mask.source=sizes',
  ],
  [
    'run m.onnx --passes mask --option mask.source',
    '--option "mask.source" is not of the form pass.key=value; write it as in --option mask.source=sizes',
  ],
  [
    'run m.onnx --passes mask --option mask.tol=1 --option mask.tol=2',
    '--option mask.tol is given twice; give it once',
  ],
  [
    'run m.onnx --passes mask --option zero.x=1',
    'an option is given for pass zero, which does not run; add it to --passes or leave the option out',
  ],
]

describe('a wrong command line', () => {
  it.each(WRONG)('vitpass %s', (line, stderr) => {
    const folder = temporaryFolder()
    copyFileSync(FIXTURE, join(folder, 'm.onnx'))
    const before = snapshot(folder)
    const answer = vitpass(line.split(' ').filter(Boolean), { cwd: folder })
    expect(answer).toEqual({ code: 2, stdout: '', stderr: `vitpass: ${stderr}\n` })
    expect(snapshot(folder)).toEqual(before)
  })

  it.each([
    [['run', '--json'], 'USAGE'],
    [['run', FIXTURE, '--json', '--dry-run', '-p', 'blur'], 'UNKNOWN_PASS'],
    [['run', FIXTURE, '--json', '--dry-run', '-p', 'mask', '--option', 'mask.x=1'], 'UNKNOWN_OPTION'],
    [['run', FIXTURE, '--json', '--dry-run', '-p', 'mask', '--option', 'mask.tol=x'], 'BAD_OPTION'],
  ])('%s answers with one JSON document all the same', (args, code) => {
    const answer = vitpass(args)
    expect(answer.code).toBe(2)
    const { error } = JSON.parse(answer.stdout)
    expect(Object.keys(error)).toEqual(['code', 'message', 'pass', 'node', 'where', 'remedy'])
    expect(error.code).toBe(code)
    expect(answer.stderr).toMatch(/^vitpass: .+\n$/)
  })
})

describe('an error', () => {
  it('shows its stack only with VITPASS_DEBUG=1', () => {
    const args = ['run', 'missing.onnx', '-p', 'mask', '--dry-run']
    expect(vitpass(args).stderr).toMatch(/^vitpass: missing\.onnx: [^\n]+\n$/)
    expect(vitpass(args, { env: { VITPASS_DEBUG: '1' } }).stderr).toMatch(
      /^vitpass: missing\.onnx: .+\n(.|\n)+ at .+:\d+:\d+/,
    )
  })
})

describe('help', () => {
  it('lists the commands', () => {
    const { code, stdout, stderr } = vitpass(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const command of ['run <model>', 'inspect <model>', 'passes']) expect(stdout).toContain(`vitpass ${command} `)
  })

  it('of a command lists its flags', () => {
    const { code, stdout } = vitpass(['run', '--help'])
    expect(code).toBe(0)
    for (const flag of [
      '--passes',
      '--option',
      '--explain',
      '--report',
      '--json',
      '--dry-run',
      '--force',
      '--durable',
    ]) {
      expect(stdout).toContain(flag)
    }
  })

  it('prints the version of the package', () => {
    expect(vitpass(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })

  it('loads nothing that reads, analyses or runs a model', () => {
    const loaded = staticallyReachableFrom('src/cli/main.ts')
    expect(loaded).toContain('src/cli/run.ts')
    expect(loaded).toContain('yargs')
    expect(loaded.filter((name) => /^(passes|src\/(onnx|ops|analysis|rewrite|runtime))\//.test(name))).toEqual([])
    const packages = loaded.filter((name) => !/^(src\/|node:)/.test(name))
    expect(packages.sort()).toEqual(['yargs', 'yargs/helpers'])
  })
})
