/** The value at a share (0 to 1) of the sorted samples, interpolated. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const place = share * (sorted.length - 1)
  const low = sorted[Math.floor(place)] ?? Number.NaN
  const high = sorted[Math.ceil(place)] ?? Number.NaN
  return low + (high - low) * (place - Math.floor(place))
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5)
}

/**
 * Runs every contender once a round, for `rounds` rounds after `warmup` unmeasured ones. Each round starts with another
 * contender, so that a drift of the machine or an effect of what ran before meets all alike.
 * @returns samples for each contender, in its order
 */
export async function interleave<T>(
  contenders: readonly (() => Promise<T>)[],
  rounds: number,
  warmup: number,
): Promise<T[][]> {
  const samples = contenders.map((): T[] => [])
  for (let round = -warmup; round < rounds; round++) {
    for (let i = 0; i < contenders.length; i++) {
      const at = (i + round + warmup) % contenders.length
      const sample = await contenders[at]?.()
      if (round >= 0 && sample !== undefined) samples[at]?.push(sample)
    }
  }
  return samples
}
