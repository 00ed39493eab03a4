import { VitpassError } from '../errors.ts'
import type { DType } from '../ir/dtype.ts'
import { readProvenance } from '../ir/provenance.ts'
import type { DeclaredDim } from '../ir/value.ts'
import { chooseStrategy } from './choose-strategy.ts'
import { type ConfigFacts, readCompanion, readConfigFacts } from './describe-config.ts'
import { type EncoderModel, type Port, readEncoderModel } from './encoder-model.ts'
import type { Size } from './image.ts'
import { choosePooling } from './pooling.ts'
import type { Strategy } from './strategy.ts'

/** What there is to know of an encoder before it runs. */
export interface EncoderDescription {
  /** Width of the network's tokens. */
  readonly hiddenSize: number
  readonly hiddenSizeFrom: 'config' | 'outputs'
  /** The input that takes images. */
  readonly input: { readonly name: string; readonly dtype: DType; readonly dims: readonly DeclaredDim[] | null }
  /** `patches`: images go in cut to patches already. */
  readonly layout: 'NCHW' | 'NHWC' | 'patches'
  readonly channels: number | null
  /** Pixels of a patch; null where pixels are not cut into patches. */
  readonly patch: Size | null
  /** The size in pixels that it was made for; null where nothing says it. */
  readonly nativeSize: Size | null
  readonly outputs: readonly {
    readonly name: string
    readonly dtype: DType
    readonly dims: readonly DeclaredDim[] | null
  }[]
  /** The output that embeddings come from, and how long they are; null where there is none, or the file does not say. */
  readonly embedding: { readonly output: string; readonly length: number | null } | null
  /** How images of mixed sizes are fed, and why so; kind is null where no way is known. */
  readonly strategy: { readonly kind: Strategy['kind'] | null; readonly why: string }
}

/** Only which strategy fits is asked here, not how it plans. */
const ANY_PLAN = { batchTokens: 4096, batchBytes: 2 ** 28, maxPadding: 0.2, lanes: 1 }

/**
 * Describes an encoder from its file, of which only the structure is read, and from its `config.json`.
 * @param model path of the file, or its bytes
 * @param config parsed `config.json`; if not given, the one that lies beside the model, where there is one
 * @throws VitpassError MODEL_UNSUPPORTED where nothing tells the hidden size or no input is an image; CONFIG_INVALID; and as `readModel`
 */
export async function describeEncoder(model: string | Uint8Array, config?: unknown): Promise<EncoderDescription> {
  const where = typeof model === 'string' ? { where: model } : {}
  const read = await readEncoderModel(model)
  const beside = config === undefined && typeof model === 'string' ? await readCompanion(model, 'config.json') : null
  const facts = readConfigFacts(config ?? beside?.json)
  const input = imageInput(read)
  if (input === undefined) {
    throw new VitpassError('MODEL_UNSUPPORTED', 'none of its inputs takes an image', {
      ...where,
      remedy: 'give an encoder with an input [batch, channels, height, width]',
    })
  }
  const hiddenSize = facts.hiddenSize ?? hiddenSizeFromOutputs(read)
  if (hiddenSize === null) {
    throw new VitpassError('MODEL_UNSUPPORTED', 'neither a config.json nor its outputs tell the hidden size', {
      ...where,
      remedy: 'put the config.json of the model beside it, or give its content',
    })
  }
  const layout = layoutOf(input)
  const pooling = choosePooling(read)
  return {
    hiddenSize,
    hiddenSizeFrom: facts.hiddenSize === null ? 'outputs' : 'config',
    input: described(input),
    layout,
    channels: fixed(input.dims, layout === 'NHWC' ? 3 : 1, layout) ?? facts.channels,
    patch: read.patch ?? facts.patch,
    nativeSize: nativeSizeOf(read, input, layout, facts),
    outputs: read.outputs.map(described),
    embedding: typeof pooling === 'string' ? null : { output: pooling.output, length: pooling.features },
    strategy: strategyOf(read),
  }
}

function described({ name, dtype, dims }: Port): EncoderDescription['input'] {
  return { name, dtype, dims }
}

/** The first input of rank 4, else the first that is named for pixels or patches. */
function imageInput({ inputs }: EncoderModel): Port | undefined {
  return (
    inputs.find(({ dims }) => dims?.length === 4) ??
    inputs.find(({ name }) => /pixel|patch|image|^x$|^input/i.test(name))
  )
}

function layoutOf({ dims }: Port): EncoderDescription['layout'] {
  if (dims === null) return 'NCHW'
  if (dims.length !== 4) return 'patches'
  const few = (dim: DeclaredDim | undefined): boolean => typeof dim === 'number' && dim >= 1 && dim <= 4
  return few(dims[3]) && !few(dims[1]) ? 'NHWC' : 'NCHW'
}

function fixed(dims: Port['dims'], axis: number, layout: EncoderDescription['layout']): number | null {
  const dim = layout === 'patches' ? null : dims?.[axis]
  return typeof dim === 'number' && dim > 0 ? dim : null
}

/** The size that the input is fixed to, else the config's, else the grid that the passes have noted times the patch. */
function nativeSizeOf(
  { metadata, patch }: EncoderModel,
  { dims }: Port,
  layout: EncoderDescription['layout'],
  facts: ConfigFacts,
): Size | null {
  const first = layout === 'NHWC' ? 1 : 2
  const height = fixed(dims, first, layout)
  const width = fixed(dims, first + 1, layout)
  if (height !== null && width !== null) return { height, width }
  if (facts.nativeSize !== null) return facts.nativeSize
  const { exported } = readProvenance({ metadata })
  if (exported === undefined || patch === null) return null
  return { height: exported.rows * patch.height, width: exported.cols * patch.width }
}

/** The last axis of a sequence of tokens, else what embeddings are long. */
function hiddenSizeFromOutputs(model: EncoderModel): number | null {
  const hidden = ['last_hidden_state', 'pooler_output'].flatMap((name) => choosePoolingOf(model, name) ?? [])
  const [found] = hidden
  if (found !== undefined) return found
  const pooling = choosePooling(model)
  return typeof pooling === 'string' ? null : pooling.features
}

function choosePoolingOf(model: EncoderModel, output: string): number | null {
  const pooling = choosePooling(model, output)
  return typeof pooling === 'string' ? null : pooling.features
}

function strategyOf(model: EncoderModel): EncoderDescription['strategy'] {
  try {
    const { kind, why } = chooseStrategy(model, ANY_PLAN)
    return { kind, why }
  } catch (error) {
    if (error instanceof VitpassError && error.code === 'MODEL_UNSUPPORTED') return { kind: null, why: error.message }
    throw error
  }
}
