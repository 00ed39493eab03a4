/** A patch grid, and how many images have it. */
export interface Point {
  readonly rows: number
  readonly cols: number
  readonly count: number
}

/** A grid that images may be padded to. */
export interface Site {
  readonly rows: number
  readonly cols: number
  /** What an image in it costs. */
  readonly each: number
  /** What it costs to have it at all. */
  readonly opening: number
}

/**
 * Choosing at most `most` of the sites so that every point fits one, rows and columns, at least cost: the openings, and for each image the
 * cheapest of the chosen sites that it fits. Kept as columns of numbers, as every step goes over all pairs.
 */
export interface Problem {
  readonly most: number
  /** Points by rows, then columns. */
  readonly points: { readonly rows: Int32Array; readonly cols: Int32Array; readonly counts: Float64Array }
  /** Sites by what an image in them costs. */
  readonly sites: {
    readonly rows: Int32Array
    readonly cols: Int32Array
    readonly each: Float64Array
    readonly opening: Float64Array
    /** How many points, from the first, have no more rows than the site. */
    readonly reach: Int32Array
  }
  /** What an image costs for which no site is chosen: more than any choice that holds them all. */
  readonly homeless: number
}

export function makeProblem(points: readonly Point[], sites: readonly Site[], most: number): Problem {
  const byRows = [...points].sort((a, b) => a.rows - b.rows || a.cols - b.cols)
  const byCost = [...sites].sort((a, b) => a.each - b.each || a.rows - b.rows)
  return {
    most,
    points: {
      rows: Int32Array.from(byRows, ({ rows }) => rows),
      cols: Int32Array.from(byRows, ({ cols }) => cols),
      counts: Float64Array.from(byRows, ({ count }) => count),
    },
    sites: {
      rows: Int32Array.from(byCost, ({ rows }) => rows),
      cols: Int32Array.from(byCost, ({ cols }) => cols),
      each: Float64Array.from(byCost, ({ each }) => each),
      opening: Float64Array.from(byCost, ({ opening }) => opening),
      reach: Int32Array.from(byCost, ({ rows }) => byRows.filter((point) => point.rows <= rows).length),
    },
    homeless: 1 + 1e3 * Math.max(...sites.map(({ each, opening }) => each + opening)),
  }
}

/**
 * The grids that are worth padding to. In a best choice each is the smallest that holds its images: one of them has its rows, one its
 * columns. So these hold a best choice out of all grids.
 */
export function candidateGrids(points: readonly Point[]): { readonly rows: number; readonly cols: number }[] {
  const grids: { rows: number; cols: number }[] = []
  const heights = [...new Set(points.map(({ rows }) => rows))].sort((a, b) => a - b)
  for (const rows of heights) {
    const within = points.filter((point) => point.rows <= rows)
    const narrowest = Math.min(...within.filter((point) => point.rows === rows).map(({ cols }) => cols))
    const widths = new Set(within.map(({ cols }) => cols).filter((cols) => cols >= narrowest))
    for (const cols of widths) grids.push({ rows, cols })
  }
  return grids
}

/** For each point, the cheapest of the sites that it fits, as their index; -1 where it fits none. */
export function assign({ points, sites }: Problem, chosen: readonly number[]): Int32Array {
  const homes = new Int32Array(points.rows.length).fill(-1)
  // The cheapest come last, over the others.
  for (const site of [...chosen].sort((a, b) => b - a)) {
    const width = sites.cols[site] as number
    const end = sites.reach[site] as number
    for (let i = 0; i < end; i += 1) if ((points.cols[i] as number) <= width) homes[i] = site
  }
  return homes
}

/** What each point's images cost each, with these sites. */
export function prices(problem: Problem, chosen: readonly number[]): Float64Array {
  const homes = assign(problem, chosen)
  const price = new Float64Array(homes.length)
  for (let i = 0; i < homes.length; i += 1) price[i] = problem.sites.each[homes[i] as number] ?? problem.homeless
  return price
}

/** What a choice of sites costs; more than any other where it leaves out an image. */
export function costOf(problem: Problem, chosen: readonly number[]): number {
  const { points, sites } = problem
  const price = prices(problem, chosen)
  let cost = 0
  for (const site of chosen) cost += sites.opening[site] as number
  for (let i = 0; i < price.length; i += 1) cost += (price[i] as number) * (points.counts[i] as number)
  return cost
}

/** The sites that some point is put to. */
export function used(problem: Problem, chosen: readonly number[]): number[] {
  return [...new Set(assign(problem, chosen))].filter((site) => site >= 0).sort((a, b) => a - b)
}

/**
 * For each of `among`, by how much less all points would cost if the images for which it is cheaper than their price went there; 0 or
 * below. The opening is not in it.
 */
export function savings(problem: Problem, price: Float64Array, among: Int32Array, into: Float64Array): void {
  const { cols, each, reach } = problem.sites
  const { cols: pointCols, counts } = problem.points
  for (let k = 0; k < among.length; k += 1) {
    const site = among[k] as number
    const width = cols[site] as number
    const own = each[site] as number
    const end = reach[site] as number
    let sum = 0
    for (let i = 0; i < end; i += 1) {
      const difference = own - (price[i] as number)
      if (difference < 0 && (pointCols[i] as number) <= width) sum += difference * (counts[i] as number)
    }
    into[site] = sum
  }
}
