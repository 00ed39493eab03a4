import { describe, expect, it } from 'vitest'
import type { EncoderModel, Port } from '../../src/runtime/encoder-model.ts'
import { choosePooling, type Pooling } from '../../src/runtime/pooling.ts'

function modelWith(...outputs: Port[]): EncoderModel {
  const applied = { passes: [], validity: null, suffix: 0 }
  return { inputs: [], outputs, metadata: new Map(), applied, patch: null, weightTypes: new Set(), weightBytes: 0 }
}

function port(name: string, dims: Port['dims'], dtype: Port['dtype'] = 'float'): Port {
  return { name, dtype, dims }
}

function chosen(...outputs: Port[]): Pooling {
  const pooling = choosePooling(modelWith(...outputs))
  return typeof pooling === 'string' ? expect.fail(pooling) : pooling
}

const tokens = port('last_hidden_state', ['batch', 'tokens', 8])

describe('the output that stands for an image', () => {
  it.each([
    ['pooler_output', [tokens, port('logits', ['batch', 10]), port('pooler_output', ['batch', 8])]],
    ['image_embeds', [tokens, port('logits', ['batch', 10]), port('image_embeds', ['batch', 8])]],
    ['last_hidden_state', [port('logits', ['batch', 10]), tokens, port('hidden_states.0', ['batch', 'tokens', 8])]],
    [
      'hidden_states_11',
      [port('hidden_states_2', tokens.dims), port('hidden_states_11', tokens.dims), port('logits', ['batch', 10])],
    ],
    ['output', [port('maps', ['batch', 8, 'h', 'w']), port('output', ['batch', 8])]],
    ['maps', [port('labels', ['batch', 8], 'int64'), port('maps', ['batch', 8, 'h', 'w'])]],
  ] as const)('is %s', (name, outputs) => {
    expect(chosen(...outputs).output).toBe(name)
    expect(chosen(...outputs).features).toBe(8)
  })

  it('is missing where nothing is a float', () => {
    expect(choosePooling(modelWith(port('labels', ['batch'], 'int64')))).toMatch(/no float output among labels/)
    expect(choosePooling(modelWith(tokens), 'other')).toMatch(/no float output is named other/)
  })
})

describe('a row', () => {
  const numbers = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => i + 1)

  it('is the output itself, its axes of length one dropped', () => {
    const outputs = { pooler_output: { data: numbers(6), dims: [2, 3, 1, 1] } }
    expect(chosen(port('pooler_output', ['batch', 3, 1, 1])).row(outputs, 1)).toEqual(Float32Array.of(4, 5, 6))
  })

  it('is the mean over tokens, or over both axes of a map, wherever the features lie', () => {
    const rows = { last_hidden_state: { data: numbers(12), dims: [2, 3, 2] } }
    expect(chosen(port('last_hidden_state', ['batch', 'tokens', 2])).row(rows, 1)).toEqual(Float32Array.of(9, 10))
    const first = { maps: { data: numbers(8), dims: [1, 2, 2, 2] } }
    expect(chosen(port('maps', ['batch', 2, 'h', 'w'])).row(first, 0)).toEqual(Float32Array.of(2.5, 6.5))
    const last = { maps: { data: numbers(8), dims: [1, 2, 2, 2] } }
    expect(chosen(port('maps', ['batch', 'h', 'w', 2])).row(last, 0)).toEqual(Float32Array.of(4, 5))
  })

  it('leaves padding out and keeps what stands in front', () => {
    const placement = { padded: { rows: 2, cols: 2 }, own: { rows: 2, cols: 1 }, zeroed: false, sparse: false }
    const data = Float32Array.of(1, 4, 100, 7, 100)
    const pooling = chosen(port('last_hidden_state', ['batch', 'tokens', 1]))
    expect(pooling.row({ last_hidden_state: { data, dims: [1, 5, 1] } }, 0, placement)).toEqual(Float32Array.of(4))
    const maps = chosen(port('maps', ['batch', 1, 'h', 'w']))
    expect(maps.row({ maps: { data: data.slice(1), dims: [1, 1, 2, 2] } }, 0, placement)).toEqual(Float32Array.of(5.5))
  })

  it('leaves zeros out of the number, wherever other tokens than patches stand', () => {
    const placement = { padded: { rows: 2, cols: 2 }, own: { rows: 2, cols: 1 }, zeroed: true, sparse: false }
    const pooling = chosen(port('last_hidden_state', ['batch', 'tokens', 1]))
    for (const data of [Float32Array.of(1, 4, 0, 7, 0), Float32Array.of(4, 0, 7, 0, 1)]) {
      expect(pooling.row({ last_hidden_state: { data, dims: [1, 5, 1] } }, 0, placement)).toEqual(Float32Array.of(4))
    }
  })

  it('leaves masked tokens out too, where single patches may be', () => {
    const placement = { padded: { rows: 2, cols: 2 }, own: { rows: 2, cols: 2 }, zeroed: false, sparse: true }
    const data = Float32Array.of(3, 5, 0, 4, 0)
    const pooling = chosen(port('last_hidden_state', ['batch', 'tokens', 1]))
    expect(pooling.row({ last_hidden_state: { data, dims: [1, 5, 1] } }, 0, placement)).toEqual(Float32Array.of(4))
  })

  it('is refused where the axes are not those of the grid', () => {
    const placement = { padded: { rows: 4, cols: 4 }, own: { rows: 2, cols: 2 }, zeroed: false, sparse: false }
    const pooling = chosen(port('last_hidden_state', ['batch', 'tokens', 1]))
    const outputs = { last_hidden_state: { data: numbers(5), dims: [1, 5, 1] } }
    expect(() => pooling.row(outputs, 0, placement)).toThrow(/do not follow the grid of 4x4 patches/)
  })
})
