import { describe, expect, it } from 'vitest'
import { registry } from '../../passes/index.ts'
import type { Model } from '../../src/ir/model.ts'
import type { Value } from '../../src/ir/value.ts'
import { readModel } from '../../src/onnx/node.ts'
import { serializeModel } from '../../src/onnx/serialize.ts'
import { Builder } from '../../src/ops/builder.ts'
import { runPasses } from '../../src/pipeline/run.ts'
import { readEncoderModel } from '../../src/runtime/encoder-model.ts'
import { type NativeContract, recogniseInputs } from '../../src/runtime/native-contract.ts'
import { fixture } from '../support/fixtures.ts'
import { sketch } from '../support/graphs.ts'
import { expectedRow, goldenImages, NativeRun, nativeExport, nativeExports } from './native-run.ts'

const NAFLEX = 'siglip2-naflex-p4-g4/dynamo20-naflex.onnx'

async function contractOf(source: string | Uint8Array): Promise<NativeContract> {
  const found = recogniseInputs(await readEncoderModel(source))
  if (typeof found === 'string') throw new Error(found)
  return found
}

async function changed(ending: string, change: (model: Model) => void): Promise<Uint8Array> {
  const model = await readModel(nativeExport(ending).path)
  change(model)
  model.graph.touch()
  return serializeModel(model)
}

function said(model: Model, more: Record<string, unknown>): void {
  model.setMetadata('vitpass', JSON.stringify({ ...JSON.parse(model.metadata.get('vitpass') ?? '{}'), ...more }))
}

function input(model: Model, name: string): Value {
  return model.graph.inputs.find((value) => value.name === name) ?? expect.fail(`no input ${name}`)
}

/** Puts nodes between an input and all that read it. */
function rewire(model: Model, name: string, draw: (builder: Builder, value: Value) => Value): void {
  const value = input(model, name)
  const readers = new Set(value.users)
  const before = model.graph.nodes[0] ?? expect.fail('no nodes')
  const drawn = draw(new Builder(model.graph, model.opset, { scope: 'test', before }), value)
  model.graph.replaceUses(value, drawn, new Set(value.users.filter((node) => !readers.has(node))))
}

/** Largest difference to PyTorch over all golden images, fed in one list. */
async function distance(ending: string, source: string | Uint8Array, options = {}): Promise<number> {
  const found = nativeExport(ending)
  const run = await NativeRun.open(source, options)
  try {
    await run.check()
    const rows = await run.encode(goldenImages(found.goldenCase))
    const [output = ''] = run.strategy.outputs
    return Math.max(
      ...rows.flatMap((row, i) => expectedRow(found, output, i).map((x, f) => Math.abs(x - (row[f] ?? Number.NaN)))),
    )
  } finally {
    await run.close()
  }
}

async function refusal(source: string | Uint8Array, options = {}): Promise<string> {
  const run = await NativeRun.open(source, options)
  try {
    const error: unknown = await run.check().then(
      () => 'nothing was refused',
      (thrown: unknown) => thrown,
    )
    return String(error)
  } finally {
    await run.close()
  }
}

describe('recognising a contract', () => {
  // Without metadata, neither another order inside patches nor merged blocks can be known.
  const usual = nativeExports().filter(({ name }) => !/gemma|ts17-naflex-chw/.test(name))

  it.each(usual)('$name shows by its inputs what its metadata say', async ({ path, entry }) => {
    const model = await readModel(path)
    model.metadata.delete('vitpass')
    model.graph.touch()
    const { layout, patch, channels, order, merge, frames, from } = await contractOf(serializeModel(model))
    expect(from).toBe('inputs')
    const { maxGrid, metadata, inputs, pixels, ...told } = await contractOf(path)
    expect(told).toMatchObject({ layout, patch, channels, order, merge, frames })
    expect(layout).toBe('layout' in entry ? entry.layout : undefined)
  })

  it('takes other names from the metadata', async () => {
    const source = await changed(NAFLEX, (model) => {
      const names = { pixels: 'pixel_values', mask: 'pixel_attention_mask', shapes: 'spatial_shapes' }
      for (const [role, name] of Object.entries(names)) model.graph.rename(input(model, name), `my_${role}`)
      said(model, { inputs: { pixels: 'my_pixels', mask: 'my_mask', shapes: 'my_shapes' } })
    })
    expect(await distance(NAFLEX, source)).toBeLessThan(1e-4)
  })

  it.each([
    ['layout', { layout: 'mosaic' }, /layout "mosaic"; known are naflex, packed/],
    ['version', { version: 2 }, /version 2/],
    ['patch', { patch_size: [4, 0] }, /patch_size as \[4,0\]/],
    ['order', { patch_order: 'whc' }, /patch_order as "whc"/],
    ['inputs', { inputs: { shapes: 'grids' } }, /no input grids/],
    ['other layout', { layout: 'packed' }, /no place for the input pixel_attention_mask/],
    ['patch of another length', { patch_size: 5 }, /patches hold 48 values/],
  ])('says what is wrong with the %s in the metadata', async (_, more, reason) => {
    const source = await changed(NAFLEX, (model) => said(model, more))
    expect(recogniseInputs(await readEncoderModel(source))).toMatch(reason)
  })

  it('refuses an output that the metadata name and the model lacks', async () => {
    const source = await changed(NAFLEX, (model) => said(model, { output: { name: 'embeddings', rows: 'image' } }))
    await expect(NativeRun.open(source)).rejects.toThrow(/no float output is named embeddings/)
  })

  it.each([
    ['patches without a grid', { pixel_values: ['n', 'L', 48] }, /no input tells the grid/],
    ['packed patches without a grid', { pixel_values: ['T', 48] }, /no input tells the grid/],
    [
      'patches with nothing but a mask',
      { pixel_values: ['n', 'L', 48], pixel_attention_mask: ['n', 'L'] },
      /no input tells the grid/,
    ],
    ['a picture', { pixel_values: ['n', 3, 'h', 'w'] }, /nothing beside it tells sizes/],
    [
      'patches of unknown length',
      { pixel_values: ['n', 'L', 'P'], spatial_shapes: ['n', 2] },
      /patch_size and channels/,
    ],
    ['patches of no square', { pixel_values: ['n', 'L', 50], spatial_shapes: ['n', 2] }, /hold 50 values/],
    [
      'another input',
      { pixel_values: ['n', 'L', 48], spatial_shapes: ['n', 2], prompt: ['n', 8] },
      /no place for the input/,
    ],
    ['packs of one length', { pixel_values: [64, 48], spatial_shapes: ['n', 2] }, /packs of one length/],
  ] as const)('refuses %s', async (_, inputs, reason) => {
    const { model } = sketch(17, inputs, (builder, values) => values.map((value) => builder.identity(value)))
    for (const value of model.graph.inputs.slice(1))
      value.type = { kind: 'tensor', dtype: 'int64', dims: value.declaredDims }
    expect(recogniseInputs(await readEncoderModel(serializeModel(model)))).toMatch(reason)
  })

  it('is kept by passes that rewrite the model', async () => {
    const ending = 'idefics2-p4-g6/ts17-pixel-mask-tokens.onnx'
    const source = await changed(ending, (model) => {
      runPasses(registry, model, ['canonical'])
    })
    expect((await contractOf(source)).from).toBe('metadata')
    expect(await distance(ending, source)).toBeLessThan(1e-4)
  })

  it('is not followed where a pass has made the model ask for sizes', async () => {
    const model = await readModel(fixture('vit-p16-g4/ts17-eager-interp.onnx').path)
    runPasses(registry, model, ['mask'], { mask: { source: 'sizes' } })
    const read = await readEncoderModel(serializeModel(model))
    expect(read.inputs.map(({ name }) => name)).toContain('image_sizes')
    expect(recogniseInputs(read)).toMatch(/vitpass has made it tell padding apart/)
  })
})

describe('what a model declares', () => {
  it('is fed in its own element types', async () => {
    const source = await changed(NAFLEX, (model) => {
      for (const [name, dtype] of [
        ['spatial_shapes', 'int32'],
        ['pixel_attention_mask', 'bool'],
      ] as const) {
        rewire(model, name, (builder, value) => {
          value.type = { kind: 'tensor', dtype, dims: value.declaredDims }
          return builder.cast(value, { to: 'int64' })
        })
      }
    })
    expect(await distance(NAFLEX, source)).toBeLessThan(1e-4)
  })

  it('may be half floats', async () => {
    const source = await changed(NAFLEX, (model) =>
      rewire(model, 'pixel_values', (builder, value) => {
        value.type = { kind: 'tensor', dtype: 'float16', dims: value.declaredDims }
        return builder.cast(value, { to: 'float' })
      }),
    )
    expect(await distance(NAFLEX, source)).toBeLessThan(2e-2)
  })

  it('may be half floats behind an input of whole ones', async () => {
    const ending = 'navit-p4-g6/ts17-naflex-half.onnx'
    const source = await changed(ending, (model) =>
      rewire(model, 'pixel_values', (builder, value) => {
        value.type = { kind: 'tensor', dtype: 'float', dims: value.declaredDims }
        return builder.cast(value, { to: 'float16' })
      }),
    )
    expect((await contractOf(source)).pixelType).toBe('float32')
    expect(await distance(ending, source)).toBeLessThan(2e-2)
  })

  it('may be patches with their rows, columns and channels apart', async () => {
    const ending = 'timm-naflex-map-p4-g4/ts17-patch-coord.onnx'
    const source = await changed(ending, (model) =>
      rewire(model, 'patches', (builder, value) => {
        value.type = { kind: 'tensor', dtype: 'float', dims: ['num_images', 'num_patches', 4, 4, 3] }
        return builder.reshape(value, builder.int64([0, 0, 48]))
      }),
    )
    expect(await distance(ending, source)).toBeLessThan(1e-4)
  })

  it('may be a mask of pixels', async () => {
    const ending = 'idefics2-p4-g6/ts17-pixel-mask-tokens.onnx'
    const source = await changed(ending, (model) => {
      rewire(model, 'patch_attention_mask', (builder, value) => {
        value.type = { kind: 'tensor', dtype: 'bool', dims: ['num_images', 'height', 'width'] }
        return builder.slice(value, { starts: [0, 0], ends: [4096, 4096], axes: [1, 2], steps: [4, 4] })
      })
      model.graph.rename(input(model, 'patch_attention_mask'), 'pixel_attention_mask')
    })
    expect(await distance(ending, source)).toBeLessThan(1e-4)
  })

  it('may be sizes beside pictures', async () => {
    const ending = 'idefics2-p4-g6/ts17-pixel-mask-tokens.onnx'
    const source = await changed(ending, (model) => {
      rewire(model, 'patch_attention_mask', (builder, sizes) => {
        sizes.type = { kind: 'tensor', dtype: 'int64', dims: ['num_images', 2] }
        const patches = (value: Value): Value => builder.div(value, builder.int64(4, 0))
        const shape = builder.shape(input(model, 'pixel_values'))
        const inside = (axis: number): Value => {
          const length = patches(builder.gather(shape, builder.int64(axis + 2, 0)))
          const places = builder.range(builder.int64(0, 0), length, builder.int64(1, 0))
          return builder.less(places, patches(builder.gather(sizes, builder.int64([axis]), { axis: 1 })))
        }
        const [rows, cols] = [builder.unsqueeze(inside(0), { axes: [2] }), builder.unsqueeze(inside(1), { axes: [1] })]
        return builder.and(rows, cols)
      })
      model.graph.rename(input(model, 'patch_attention_mask'), 'image_sizes')
      said(model, { layout: 'image-sizes' })
    })
    expect((await contractOf(source)).layout).toBe('image-sizes')
    expect(await distance(ending, source)).toBeLessThan(1e-4)
  })

  it('may be a fixed number of images and of patches', async () => {
    const source = await changed(NAFLEX, (model) => {
      for (const value of model.graph.inputs) {
        const [, ...rest] = value.declaredDims ?? []
        value.type = {
          kind: 'tensor',
          dtype: value.dtype ?? 'undefined',
          dims: [4, ...rest.map((dim) => (dim === 'num_patches' ? 40 : dim))],
        }
      }
    })
    expect(await distance(NAFLEX, source)).toBeLessThan(1e-4)
    const run = await NativeRun.open(source)
    expect(run.strategy.refuses({ height: 28, width: 24 })).toMatch(/42 patches are more than the 40/)
    await run.close()
  })

  it('bounds the grid', async () => {
    const run = await NativeRun.open(nativeExport('navit-p4-g6/dynamo20-naflex.onnx').path)
    expect(run.strategy.refuses({ height: 24, width: 24 })).toBeNull()
    expect(run.strategy.refuses({ height: 27, width: 4 })).toBeNull()
    expect(run.strategy.refuses({ height: 28, width: 4 })).toMatch(/7x1 patches are more than the 6x6/)
    expect(run.strategy.refuses({ height: 3, width: 40 })).toMatch(/smaller than a patch of 4x4/)
    await run.close()
  })

  it('bounds images from below by a block of merged patches', async () => {
    const run = await NativeRun.open(nativeExport('qwen2-vl-p4-m2/dynamo20-grid-thw-chw-tokens.onnx').path)
    expect(run.strategy.refuses({ height: 8, width: 8 })).toBeNull()
    expect(run.strategy.refuses({ height: 7, width: 8 })).toMatch(/smaller than a block of 2x2 patches, 8x8/)
    await run.close()
  })
})

describe('the check when a model is opened', () => {
  it('refuses an export whose sizes are those it was traced with', async () => {
    expect(await refusal(nativeExport('pixtral-p4-g6/ts17-image-sizes-tokens-bare.onnx').path)).toMatch(
      /does not run on images of|otherwise beside another/,
    )
  })

  it.each(nativeExports().filter(({ name }) => /dynamo20-(naflex|packed|patch-coord|grid-thw)[^/]*$/.test(name)))(
    'refuses $name with a grid that makes no difference',
    async ({ name }) => {
      const source = await changed(name, (model) => {
        const grid = model.graph.inputs.find((value) => /shapes|coord|thw/.test(value.name)) ?? expect.fail('no grid')
        // Every image's grid becomes one row of patches, or of blocks: their number stays.
        rewire(model, grid.name, (builder, value) =>
          grid.name === 'patch_coord' ? builder.mul(value, builder.int64([0, 0])) : flatten(builder, value),
        )
      })
      expect(await refusal(source)).toMatch(/grid of patches makes no difference/)
    },
  )

  it('refuses a mask that is ignored, unless images run one by one', async () => {
    const source = await changed(NAFLEX, (model) => {
      rewire(model, 'pixel_attention_mask', (builder, mask) => builder.max([mask, builder.int64([1])]))
    })
    expect(await refusal(source)).toMatch(/answers otherwise beside another than alone/)
    expect(await distance(NAFLEX, source, { batchTokens: 1 })).toBeLessThan(1e-4)
  })

  it('refuses a mask that is ignored where every image is padded to one length', async () => {
    const source = await changed(NAFLEX, (model) => {
      rewire(model, 'pixel_attention_mask', (builder, mask) => builder.max([mask, builder.int64([1])]))
      for (const value of model.graph.inputs) {
        const dims = value.declaredDims?.map((dim) => (dim === 'num_patches' ? 12 : dim)) ?? null
        value.type = { kind: 'tensor', dtype: value.dtype ?? 'undefined', dims }
      }
    })
    expect(await refusal(source)).toMatch(/what lies in the padding behind an image changes its answer/)
  })

  it('refuses pictures whose mask is ignored, even one by one', async () => {
    const source = await changed('idefics2-p4-g6/ts17-pixel-mask-tokens.onnx', (model) =>
      rewire(model, 'patch_attention_mask', (builder, mask) => builder.or(mask, builder.bool([true]))),
    )
    expect(await refusal(source)).toMatch(/answers otherwise beside another than alone/)
    expect(await refusal(source, { batchTokens: 1 })).toMatch(/what lies in the padding behind an image/)
  })

  it('refuses rows that are neither images nor tokens', async () => {
    const source = await changed('navit-p4-g6/dynamo20-packed.onnx', (model) =>
      said(model, { output: { name: 'logits', rows: 'token' } }),
    )
    expect(await refusal(source)).toMatch(/not the number of tokens/)
  })
})

function flatten(builder: Builder, grid: Value): Value {
  const width = Number(grid.declaredDims?.at(-1))
  const column = (i: number): Value => builder.gather(grid, builder.int64([i]), { axis: 1 })
  const [rows, cols] = [column(width - 2), column(width - 1)]
  const block = builder.int64([width === 3 ? 2 : 1])
  const flat = [builder.add(builder.mul(rows, builder.int64([0])), block), builder.div(builder.mul(rows, cols), block)]
  return builder.concat(width === 3 ? [column(0), ...flat] : flat, { axis: 1 })
}
