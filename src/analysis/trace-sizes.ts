import { type Dim, isInt, resolve, terms } from '../ir/dim.ts'
import type { Graph } from '../ir/graph.ts'
import type { Node } from '../ir/node.ts'
import type { Facts } from './facts.ts'
import { dependsOnSize } from './grid.ts'

/** The sizes of a trace: images in the batch, rows and columns of patches. */
export interface TraceSizes {
  readonly batch: number
  readonly rows: number
  readonly cols: number
}

/** Sizes that a clash and the model's constants suggest: token counts that are a square grid and a few prefix tokens. */
export function suggestSizes(sizes: TraceSizes, facts: Facts, graph: Graph): TraceSizes[] {
  const counts = new Set<number>()
  for (const { left, right } of facts.impossible) for (const dim of [left, right]) counts.add(dim.n)
  for (const value of graph.initializers) {
    const dims = value.tensor?.dims ?? []
    if (dims.length >= 2 && dims.length <= 4) for (const n of dims.slice(-3, -1)) counts.add(n)
  }
  const grids: number[] = []
  const spelled = facts.impossible.flatMap(({ left, right }) => [
    ...[left, right].flatMap(spelledGrid),
    ...grownGrid(left, right),
  ])
  const clashing = facts.impossible.map(({ node }) => node).filter((node) => node.is('Reshape'))
  const named = [...new Set([...clashing, ...facts.split])].flatMap((node) => gridsNamed(node, facts))
  for (const count of counts) {
    for (let prefix = 0; prefix <= 8 && prefix < count; prefix += 1) {
      const side = Math.sqrt(count - prefix)
      if (Number.isInteger(side) && side > 1 && side <= 256 && !grids.includes(side)) grids.push(side)
    }
  }
  const batches = [sizes.batch, 1, 2]
  return batches.flatMap((batch) => [
    { ...sizes, batch },
    ...[...spelled, ...named].map((grid) => ({ batch, ...grid })),
    ...grids.map((side) => ({ batch, rows: side, cols: side })),
  ])
}

/** The grid that a size made of two numbers spells out: an axis of 3 * 5 patches. */
function spelledGrid(dim: Dim): { rows: number; cols: number }[] {
  const [rows, cols, ...rest] = resolve(dim).atoms
  if (rows === undefined || cols === undefined || rest.length > 0 || !isInt(dim)) return []
  return [{ rows: rows.n, cols: cols.n }]
}

/**
 * The grid that a tensor would have to have for a Reshape to fit: its tokens are a factor of its elements, so their number follows from
 * how many elements the target has. Which grid has that many tokens does not matter where they are one axis; the one nearest to a square.
 */
function grownGrid(elements: Dim, wanted: Dim): { rows: number; cols: number }[] {
  const parts = resolve(elements).atoms.map((atom): Dim => ({ atoms: [atom], n: atom.n }))
  const along = parts.filter(dependsOnSize)
  const tokens = (along.reduce((n, dim) => n * dim.n, 1) * wanted.n) / elements.n
  if (along.length === 0 || !Number.isInteger(tokens)) return []
  const prefix = along.flatMap(terms).reduce((n, term) => n + (isInt(term) ? term.n : 0), 0)
  return squarest(tokens - prefix)
}

function squarest(cells: number): { rows: number; cols: number }[] {
  if (!Number.isInteger(cells) || cells < 1 || cells > 65536) return []
  let rows = Math.floor(Math.sqrt(cells))
  while (cells % rows !== 0) rows -= 1
  return [{ rows, cols: cells / rows }]
}

/** The grids that the numbers in a Reshape's target would be, were each of them how many tokens there are. */
function gridsNamed(reshape: Node, facts: Facts): { rows: number; cols: number }[] {
  const target = facts.contents(reshape.input(1))
  const along = (facts.dims(reshape.input(0)) ?? []).filter(dependsOnSize).flatMap(terms)
  const prefix = along.reduce((n, term) => n + (isInt(term) ? term.n : 0), 0)
  const numbers = target?.kind === 'list' ? target.items.filter(isInt).map(({ n }) => n) : []
  return [...new Set(numbers)].flatMap((n) => squarest(n - prefix))
}
