import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import { importsOf, isNodeModule, isRelative, packageName, reachableFrom, sourceFiles } from './support/imports.ts'

/** Who may import whom; a folder may always import itself and `src/errors.ts`. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'src/errors.ts': [],
  'src/ir': [],
  'src/batching': [],
  'src/onnx': ['src/ir'],
  'src/ops': ['src/ir'],
  'src/analysis': ['src/ir'],
  'src/rewrite': ['src/ir', 'src/ops', 'src/analysis'],
  'src/pipeline': ['src/ir', 'src/ops', 'src/analysis'],
  'src/runtime': ['src/ir', 'src/onnx', 'src/batching'],
  'src/verify': ['src/ir', 'src/onnx', 'src/runtime', 'src/analysis'],
  'src/diff': ['src/ir', 'src/onnx'],
  'src/index.ts': [
    'src/ir',
    'src/batching',
    'src/onnx',
    'src/ops',
    'src/analysis',
    'src/rewrite',
    'src/pipeline',
    'passes/index.ts',
  ],
  passes: ['src/ir', 'src/ops', 'src/analysis', 'src/rewrite', 'src/pipeline', 'src/batching'],
  'passes/index.ts': ['passes', 'src/pipeline'],
}

/** Packages beside Node's own, and the only folders that know them. */
const PACKAGE_HOMES: Readonly<Record<string, readonly string[]>> = {
  protobufjs: ['src/onnx'],
  long: ['src/onnx'],
  'onnxruntime-node': ['src/runtime'],
  sharp: ['src/runtime'],
  yargs: ['src/cli'],
  'cli-progress': ['src/cli'],
}

const DOORS = ['src/index.ts', 'passes/index.ts']
const NODE_ONLY = /^src\/(cli|runtime|verify)\/|^src\/onnx\/node[^/]*\.ts$/
const files = sourceFiles('src', 'passes')

function areaOf(file: string): string {
  if (Object.hasOwn(MAY_IMPORT, file)) return file
  return file.startsWith('passes/') ? 'passes' : file.split('/').slice(0, 2).join('/')
}

describe('imports', () => {
  it('finds the sources', () => {
    expect(files).toContain('src/ir/graph.ts')
    expect(files).toContain('passes/index.ts')
    expect(importsOf('passes/index.ts')).toContain('src/pipeline/run.ts')
  })

  it('flow in one direction between folders', () => {
    const wrong = files.flatMap((file) => {
      const area = areaOf(file)
      if (area === 'src/cli') return []
      const allowed = [...(MAY_IMPORT[area] ?? []), 'src/errors.ts', ...(area === 'passes' ? [] : [area])]
      const found = importsOf(file).filter((imported) => isRelative(imported) && !allowed.includes(areaOf(imported)))
      return found.map((imported) => `${file} imports ${imported}`)
    })
    expect(wrong).toEqual([])
  })

  it('keep each package in its folder', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((imported) => !isRelative(imported) && !isNodeModule(imported))
        .filter((imported) => !(PACKAGE_HOMES[packageName(imported)] ?? []).includes(areaOf(file)))
        .map((imported) => `${file} imports ${imported}`),
    )
    expect(wrong).toEqual([])
  })

  it('leave Node out of the core', () => {
    const wrong = files
      .filter((file) => !NODE_ONLY.test(file))
      .flatMap((file) =>
        importsOf(file)
          .filter(isNodeModule)
          .map((imported) => `${file} imports ${imported}`),
      )
    expect(wrong).toEqual([])
  })

  it.each(DOORS)('from %s reach nothing that needs Node', (door) => {
    const reached = reachableFrom(door)
    expect(reached.size).toBeGreaterThan(10)
    const wrong = [...reached].filter(([file]) => NODE_ONLY.test(file) || importsOf(file).some(isNodeModule))
    expect(wrong.map(([, way]) => way.join(' -> '))).toEqual([])
  })
})

describe('files', () => {
  const written = [...files, ...sourceFiles('tools', 'test')].filter((file) => !/[./]generated[./]/.test(file))

  it('have one subject and stay under 400 lines', () => {
    const long = written.filter((file) => readFileSync(file, 'utf8').split('\n').length > 400)
    expect(long).toEqual([])
    expect(written.filter((file) => basename(file) === 'utils.ts')).toEqual([])
  })

  it('are named in kebab-case', () => {
    expect(written.filter((file) => !/^[a-z0-9-]+(\.test|\.d)?\.ts$/.test(basename(file)))).toEqual([])
  })

  it('have no default exports', () => {
    expect(written.filter((file) => /^export default\b/m.test(readFileSync(file, 'utf8')))).toEqual([])
  })
})
