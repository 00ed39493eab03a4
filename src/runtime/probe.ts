import { VitpassError } from '../errors.ts'
import type { Engine } from './batch-run.ts'
import type { Image } from './image.ts'

/** Sides of images that models are for, the commonest first. */
const SIDES = [224, 64, 32, 384, 256, 448, 512, 518, 96, 336]

/**
 * The length of a row, from running an image, where the file does not say.
 * @throws VitpassError MODEL_UNSUPPORTED where no usual size runs
 */
export async function measureFeatures({ strategy, lanes, pool, pace }: Engine): Promise<number> {
  if (strategy.features !== null) return strategy.features
  const channels = strategy.channels ?? 3
  for (const side of SIDES) {
    if (strategy.refuses({ height: side, width: side }) !== null) continue
    const image: Image = {
      data: new Float32Array(channels * side * side).fill(0.5),
      channels,
      height: side,
      width: side,
    }
    const [batch] = strategy.plan([image])
    if (batch === undefined) continue
    try {
      const feeds = await pace.drive(strategy.feeds(batch, [image], pool.allocate))
      const { outputs } = await lanes.run(feeds, strategy.outputs, batch.tokens)
      const [row] = strategy.rows(outputs, batch)
      if (row !== undefined) return row.length
    } catch (error) {
      if (!(error instanceof VitpassError)) throw error
    }
  }
  throw new VitpassError(
    'MODEL_UNSUPPORTED',
    'the file does not say how long its rows are, and no square image of a usual size runs',
    {
      remedy: 'encode an image that the model takes first',
    },
  )
}
