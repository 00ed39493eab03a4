/**
 * Divides images among packs of at most `most` tokens, longest first, each into the first pack with room (first-fit decreasing: Johnson,
 * 1974, at most 11/9 of the fewest packs). An image longer than that is alone. Gives positions in the list of lengths.
 */
export function packTokens(lengths: readonly number[], most: number): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0) || a - b)
  const packs: { members: number[]; room: number }[] = []
  // Packs before this one have no room for the shortest image that is left.
  const shortest = lengths[order.at(-1) ?? 0] ?? 0
  let open = 0
  for (const index of order) {
    const length = lengths[index] ?? 0
    while (open < packs.length && (packs[open]?.room ?? 0) < shortest) open += 1
    let at = open
    while (at < packs.length && (packs[at]?.room ?? 0) < length) at += 1
    const pack = packs[at]
    if (pack === undefined) packs.push({ members: [index], room: most - length })
    else {
      pack.members.push(index)
      pack.room -= length
    }
  }
  return packs.map(({ members }) => members)
}
