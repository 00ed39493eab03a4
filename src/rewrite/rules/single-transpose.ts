import type { Facts } from '../../analysis/facts.ts'
import { reshapeDims } from '../../analysis/shapes/reshape.ts'
import { type Dim, layoutKey, sym } from '../../ir/dim.ts'
import type { Node } from '../../ir/node.ts'
import type { Rule } from '../engine.ts'

/**
 * A chain of Reshape and Transpose that merges axes, permutes them and splits them again at the same places becomes one
 * Transpose, as exporters write the transposition of the keys in scaled dot-product attention. Each axis of the chain's input is
 * given a name of its own and followed through; it matches where every output axis is one whole input axis.
 */
export const singleTranspose: Rule = {
  name: 'transpose chain',
  match(node, { facts }) {
    const old = node.output(0)
    if (!node.is('Reshape') || old === null) return null
    const chain: Node[] = [node]
    for (let before = node.input(0)?.producer; before?.is('Reshape', 'Transpose'); before = before.input(0)?.producer) {
      chain.unshift(before)
      if ((before.output(0)?.users.length ?? 0) > 1) break
    }
    if (!chain.some((link) => link.is('Transpose'))) return null
    for (let start = 0; start + 2 < chain.length + 1; start += 1) {
      const part = chain.slice(start)
      const source = part[0]?.input(0) ?? null
      const perm = part.length < 2 ? null : permutation(part, facts)
      if (source !== null && perm !== null) return { old, next: (builder) => builder.transpose(source, { perm }) }
    }
    return null
  },
}

function permutation(chain: readonly Node[], facts: Facts): number[] | null {
  const from = facts.dims(chain[0]?.input(0) ?? null)
  if (from === null) return null
  let axes: readonly Dim[] | null = from.map((dim, i) => sym(`axis${i}`, dim.n))
  for (const node of chain) {
    axes = follow(node, axes, facts)
    if (axes === null) return null
  }
  const perm = axes.map((axis) => from.findIndex((_, i) => layoutKey(axis) === `axis${i}`))
  return perm.length === from.length && perm.every((axis) => axis >= 0) ? perm : null
}

function follow(node: Node, axes: readonly Dim[], facts: Facts): readonly Dim[] | null {
  if (node.is('Transpose')) {
    const perm = node.ints('perm') ?? axes.map((_, i) => axes.length - 1 - i)
    return perm.map((axis) => axes[axis] as Dim)
  }
  const to = facts.dims(node.output(0))
  return to === null
    ? null
    : reshapeDims(
        axes,
        to.map((dim) => dim.n),
      )
}
