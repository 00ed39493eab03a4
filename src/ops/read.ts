import { decodeText } from '../ir/attribute.ts'
import type { Node } from '../ir/node.ts'
import type { Value } from '../ir/value.ts'
import { constantInts } from './constants.ts'
import { FORMER_NAMES } from './generated/schemas.ts'
import { attributeDefault, inputIndex } from './schema.ts'

/** Finds the integers that a value holds in every run: of constants, or of whatever an analysis knows. Null where they vary. */
export type Constants = (value: Value) => readonly number[] | null

/** What a node says about one parameter, wherever its opset puts it. */
export type Parameter =
  | { readonly kind: 'known'; readonly values: readonly number[] }
  /** Left out, and the operator has no default for it. */
  | { readonly kind: 'absent' }
  /** Held by a tensor whose contents are not known. */
  | { readonly kind: 'computed'; readonly value: Value }

/**
 * Reads integers that are an attribute in one opset and an input in another, by their name of today: `axes`, `split`, `starts`, `k`.
 * An attribute that is left out has its default in this opset.
 */
export function intsOf(node: Node, opset: number, name: string, constants: Constants = constantInts): Parameter {
  const index = inputIndex(node.opType, opset, name)
  const value = index === null ? null : node.input(index)
  if (value !== null) {
    const values = constants(value)
    return values === null ? { kind: 'computed', value } : { kind: 'known', values }
  }
  const local = node.attributes.has(name) ? name : (FORMER_NAMES[node.opType]?.[name] ?? name)
  const attribute = node.attributes.get(local)
  if (attribute?.type === 'ints') return { kind: 'known', values: attribute.value.map(Number) }
  if (attribute?.type === 'int') return { kind: 'known', values: [Number(attribute.value)] }
  const fallback = attributeDefault(node.opType, opset, local)
  return typeof fallback === 'number' ? { kind: 'known', values: [fallback] } : { kind: 'absent' }
}

/**
 * The axes of a Squeeze, Unsqueeze or reduction, as the node spells them (negative ones too).
 * @returns `all` where none are given, which means every axis (every axis of length 1 for Squeeze); null where only the run tells
 */
export function axesOf(
  node: Node,
  opset: number,
  constants: Constants = constantInts,
): readonly number[] | 'all' | null {
  const axes = intsOf(node, opset, 'axes', constants)
  if (axes.kind === 'computed') return null
  if (axes.kind === 'known' && axes.values.length > 0) return axes.values
  return node.int('noop_with_empty_axes', 0) === 1 ? [] : 'all'
}

/** One integer: an attribute with this opset's default, or a constant input. Undefined where it is absent or computed. */
export function intOf(
  node: Node,
  opset: number,
  name: string,
  constants: Constants = constantInts,
): number | undefined {
  const found = intsOf(node, opset, name, constants)
  return found.kind === 'known' && found.values.length === 1 ? found.values[0] : undefined
}

/** A float attribute, with this opset's default. */
export function floatOf(node: Node, opset: number, name: string): number | undefined {
  const fallback = attributeDefault(node.opType, opset, name)
  return node.float(name) ?? (typeof fallback === 'number' ? fallback : undefined)
}

/** A string attribute, with this opset's default. */
export function stringOf(node: Node, opset: number, name: string): string | undefined {
  const found = node.attributes.get(name)
  if (found?.type === 'string') return decodeText(found.value)
  const fallback = attributeDefault(node.opType, opset, name)
  return typeof fallback === 'string' ? fallback : undefined
}

/** An input by its name of today; null where it is not given or this opset has no such input. */
export function inputOf(node: Node, opset: number, name: string): Value | null {
  const index = inputIndex(node.opType, opset, name)
  return index === null ? null : node.input(index)
}

/**
 * The one axis that a Softmax runs over, from 0 on; null where it runs over several: below opset 13 it takes all axes from
 * the one given, by default the second.
 */
export function softmaxAxis(node: Node, opset: number, rank: number): number | null {
  const axis = intOf(node, opset, 'axis') ?? -1
  const place = axis < 0 ? axis + rank : axis
  return opset >= 13 || place === rank - 1 ? place : null
}
