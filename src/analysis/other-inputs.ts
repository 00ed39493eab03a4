import type { Model } from '../ir/model.ts'
import type { Node } from '../ir/node.ts'
import { readProvenance } from '../ir/provenance.ts'
import type { Value } from '../ir/value.ts'
import { dependents } from './dependence.ts'
import { callerInputs, type PatchEmbedding } from './pixels.ts'

/** The input that vitpass itself adds where sizes tell padding: [batch, 2] int64, height and width in pixels. */
export const SIZES_INPUT = 'image_sizes'

/** An input beside the image on which the outputs depend, and where that begins to show. */
export interface OtherInput {
  readonly input: Value
  /** The first node that brings it together with what comes from the image, or else that reads it; none where it is an output itself. */
  readonly node?: Node
  readonly reason: string
  readonly remedy: string
}

/** Arithmetic that one number, the same for all images and tokens, may take part in. */
const ARITHMETIC = new Set(['Add', 'Sub', 'Mul', 'Div'])

/** Operators behind which one number is still one number. */
const KEEPS_NUMBER = new Set(['Cast', 'Identity'])

/**
 * Every input that the caller must give beside the image and that reaches an output, by its elements or by its shape alone: a mask of
 * pixels, sizes, the numbers of patches to keep, a second image. Such an input has a say in attention, positions or the choice of tokens
 * that padding does not show, so that no rewriting of this graph is right without knowing what it means.
 *
 * Left out are `image_sizes` where vitpass has added it, and one number (rank 0) that is only added to or multiplied into what comes from
 * the image: it is to every image and token the same.
 */
export function otherInputs(model: Model, { pixels }: Pick<PatchEmbedding, 'pixels'>): OtherInput[] {
  const ownSizes = readProvenance(model).validity?.source === 'sizes' ? SIZES_INPUT : null
  const others = callerInputs(model).filter((value) => value !== pixels && value.name !== ownSizes)
  if (others.length === 0) return []
  const { graph } = model
  const drawn = dependents(graph, pixels)
  return others.flatMap((input): OtherInput[] => {
    const reached = reach(graph.nodes, input, true)
    if (!graph.outputs.some((output) => reached.values.has(output))) return []
    if (input.declaredDims?.length === 0 && onlyScales(reach(graph.nodes, input, false), drawn, graph.outputs))
      return []
    const node = reached.nodes.find((reader) => meets(reader, reached.values, drawn)) ?? reached.nodes[0]
    const isPicture = input.declaredDims?.length === 4 && input.dtype === pixels.dtype
    return [
      {
        input,
        ...(node === undefined ? {} : { node }),
        reason: isPicture
          ? `the outputs depend on a second input of images, ${input.name}, beside ${pixels.name}`
          : `the outputs depend on the input ${input.name} beside the image ${pixels.name}: what it says of each image is not known here`,
        remedy: isPicture
          ? `export the encoder of ${pixels.name} by itself`
          : `give the model as it is to the batch encoder, which feeds masks and sizes of known layouts itself, or export it with ${input.name} as a constant`,
      },
    ]
  })
}

interface Reached {
  readonly values: ReadonlySet<Value>
  /** In graph order. */
  readonly nodes: readonly Node[]
}

/** All that reads the input, what branches read and, if asked, what looks at shapes alone included. */
function reach(nodes: readonly Node[], input: Value, shapes: boolean): Reached {
  const values = new Set([input])
  const readers = nodes.filter((node) => {
    if ((!shapes && node.is('Shape', 'Size')) || !reads(node, values)) return false
    for (const value of node.outputs) if (value !== null) values.add(value)
    return true
  })
  return { values, nodes: readers }
}

function reads(node: Node, values: ReadonlySet<Value>): boolean {
  const has = (value: Value | null): boolean => value !== null && values.has(value)
  return (
    node.inputs.some(has) ||
    node.subgraphs.some((graph) => graph.outputs.some(has) || [...graph.walk()].some((inner) => reads(inner, values)))
  )
}

function makes(node: Node, values: ReadonlySet<Value>): boolean {
  return node.outputs.some((value) => value !== null && values.has(value))
}

/** True where the input comes to what comes from the image, and not with it. */
function meets(node: Node, reached: ReadonlySet<Value>, drawn: ReadonlySet<Value>): boolean {
  if (!makes(node, drawn)) return false
  return node.subgraphs.length > 0 || node.inputs.some((v) => v !== null && reached.has(v) && !drawn.has(v))
}

function onlyScales({ values, nodes }: Reached, drawn: ReadonlySet<Value>, outputs: readonly Value[]): boolean {
  if (outputs.some((output) => values.has(output) && !drawn.has(output))) return false
  return nodes.every((node) => {
    if (!makes(node, drawn)) return node.domain === '' && KEEPS_NUMBER.has(node.opType)
    if (!meets(node, values, drawn)) return true
    return node.domain === '' && ARITHMETIC.has(node.opType)
  })
}
