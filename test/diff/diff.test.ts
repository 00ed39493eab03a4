import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import { ContentKeys } from '../../src/diff/content.ts'
import { diffModels } from '../../src/diff/diff.ts'
import type { DiffReport } from '../../src/diff/report.ts'
import { attr } from '../../src/ir/attribute.ts'
import { cloneModel } from '../../src/ir/clone.ts'
import type { Model } from '../../src/ir/model.ts'
import type { ByteSource, Tensor } from '../../src/ir/tensor.ts'
import { floatTensor, int64Tensor } from '../../src/ir/tensor-data.ts'
import { readModel } from '../../src/onnx/node.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { fixture } from '../support/fixtures.ts'
import { sketch } from '../support/graphs.ts'

const VIT = await readModel(fixture('vit-p16-g4/ts17-eager-interp.onnx').path)

function newDigest() {
  const hash = createHash('sha256')
  return { update: (bytes: Uint8Array) => void hash.update(bytes), digest: () => hash.digest('hex') }
}

/** The VIT fixture against itself with a change. */
function diffOf(change: (model: Model) => void, before = VIT): DiffReport {
  const after = cloneModel(before)
  change(after)
  return diffModels(before, after, newDigest)
}

describe('two models', () => {
  it('are the same when nothing, or only names, differ', () => {
    expect(diffOf(() => {}).same).toBe(true)
    const renamed = diffOf(({ graph }) => {
      for (const node of graph.nodes) node.name = `n_${node.name}`
      for (const value of graph.nodes.flatMap(({ outputs }) => outputs)) {
        if (value !== null && !graph.outputs.includes(value)) graph.rename(value, `v_${value.name}`)
      }
      for (const value of graph.initializers) graph.rename(value, `w_${value.name}`)
    })
    expect(renamed).toMatchObject({ same: true, nodes: { unchanged: VIT.graph.nodes.length, added: 0, removed: 0 } })
    expect(renamed.initializers.changes).toEqual([])
  })

  it('differ from where a weight differs on, and in that weight', () => {
    const report = diffOf(({ graph }) => {
      const bias = graph.initializers.find(({ name }) => name.includes('layers.1.mlp.fc2.bias'))
      if (bias?.tensor == null) throw new Error('the fixture has another bias')
      bias.tensor = { ...floatTensor(bias.tensor.dims, new Array(bias.tensor.dims[0]).fill(0.5)), name: bias.name }
    })
    expect(report.same).toBe(false)
    expect(report.operators).toEqual([])
    expect(report.recomputed).toEqual(['last_hidden_state', 'pooler_output'])
    expect(report.initializers.changes).toMatchObject([
      { name: expect.stringContaining('fc2.bias'), before: { dims: [32], bytes: 128 }, after: { dims: [32] } },
    ])
    const { before, unchanged, rewired, removed, added } = report.nodes
    expect({ removed, added }).toEqual({ removed: 1, added: 1 })
    expect(unchanged).toBeGreaterThan(before / 2)
    expect(unchanged + rewired + removed).toBe(before)
  })

  it('differ in operators, attributes and opsets', () => {
    const report = diffOf((model) => {
      const softmax = model.graph.nodes.find((node) => node.is('Softmax'))
      softmax?.setAttribute('axis', attr.int(2))
      const output = softmax?.output(0)
      const [abs] = model.graph.emit('Abs', [output ?? null])
      if (output && abs) model.graph.replaceUses(output, abs, new Set(abs.producer ? [abs.producer] : []))
      model.graph.sort()
      model.setOpset('com.microsoft', 1)
    })
    expect(report.operators).toEqual([{ name: 'Abs', before: null, after: 1 }])
    expect(report.opsets).toEqual([{ name: 'com.microsoft', before: null, after: 1 }])
    expect(report.nodes).toMatchObject({ removed: 1, added: 2 })
  })

  it('differ in what a pass writes about itself, in inputs and in declared sizes', () => {
    const report = diffOf((model) => {
      runPasses(registry, model, ['mask'], { mask: { source: 'sizes' } })
    })
    expect(report.inputs).toEqual([{ name: 'image_sizes', before: null, after: 'int64 [batch, 2]' }])
    expect(report.metadata).toMatchObject([{ name: 'vitpass', before: null, after: expect.stringContaining('mask') }])
    const [one, two] = [
      sketch(17, { x: ['n', 3] }, (b, [x]) => [b.relu(x as never)]),
      sketch(17, { x: ['n', 4] }, (b, [x]) => [b.relu(x as never)]),
    ]
    const dims = diffModels(one.model, two.model, newDigest)
    expect(dims.inputs).toEqual([{ name: 'x', before: 'float [n, 3]', after: 'float [n, 4]' }])
    expect(dims).toMatchObject({ same: false, recomputed: [], nodes: { unchanged: 1 } })
  })

  it('differ where two outputs change places', () => {
    const report = diffOf(({ graph }) => {
      const [a, b] = graph.outputs
      if (a && b) [a.name, b.name] = [b.name, a.name]
    })
    expect(report).toMatchObject({ same: false, recomputed: ['last_hidden_state', 'pooler_output'] })
    expect(report.nodes).toMatchObject({ unchanged: report.nodes.before })
  })
})

describe('content', () => {
  const keys = () => new ContentKeys(newDigest)
  const named = (tensor: Omit<Tensor, 'name'>, name = 't'): Tensor => ({ ...tensor, name })

  it('is the same in whichever field of the file it is stored', () => {
    const raw = named(int64Tensor([3], [1, 2, 300]))
    const typed: Tensor = {
      ...raw,
      storage: { kind: 'typed', field: 'int64_data', bytes: Uint8Array.of(1, 2, 172, 2) },
    }
    expect(keys().ofTensor(typed)).toBe(keys().ofTensor(raw))
    expect(keys().ofTensor(named(int64Tensor([3, 1], [1, 2, 300])))).not.toBe(keys().ofTensor(raw))
  })

  it('of large weights is read in parts', () => {
    const size = 5 * 2 ** 20 + 12
    const reads: number[] = []
    const source: ByteSource = {
      name: 'weights',
      size,
      read: (offset, length) => {
        reads.push(length)
        return Uint8Array.from({ length }, (_, i) => (offset + i) % 251)
      },
    }
    const dims = [size / 4]
    const ranged = named({ dtype: 'float', dims, storage: { kind: 'range', source, offset: 0, length: size } })
    const bytes = Uint8Array.from({ length: size }, (_, i) => i % 251)
    const whole = named({ dtype: 'float', dims, storage: { kind: 'raw', bytes } })
    expect(keys().ofTensor(ranged)).toBe(keys().ofTensor(whole))
    expect(Math.max(...reads)).toBe(2 ** 20)
    expect(reads.reduce((a, b) => a + b)).toBe(size)
  })
})
