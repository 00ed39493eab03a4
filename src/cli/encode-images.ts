import { availableParallelism } from 'node:os'
import { VitpassError } from '../errors.ts'
import { decodeImage } from '../runtime/decode.ts'
import type { Image } from '../runtime/image.ts'
import { preprocess } from '../runtime/preprocess.ts'
import type { Preprocessing } from '../runtime/preprocessing.ts'

/** An image that is ready for the model, or the reason why it is not. */
export type Prepared =
  | { readonly name: string; readonly image: Image }
  | { readonly name: string; readonly error: VitpassError }

/** Images that are decoded before the model asks for them: enough to keep decoder threads busy, few enough to stay small. */
const AHEAD = Math.max(4, 2 * availableParallelism())

/** Decodes and prepares files, some at a time, in their order. What goes wrong with one is told in its place. */
export async function* prepareImages(
  sources: AsyncIterable<string>,
  preprocessing: Preprocessing,
): AsyncGenerator<Prepared> {
  const running: Promise<Prepared>[] = []
  for await (const name of sources) {
    running.push(prepareImage(name, preprocessing))
    const first = running.length < AHEAD ? undefined : running.shift()
    if (first !== undefined) yield await first
  }
  for (const last of running) yield await last
}

async function prepareImage(name: string, preprocessing: Preprocessing): Promise<Prepared> {
  const channels = preprocessing.mean.length === 1 ? 1 : 3
  try {
    return { name, image: await preprocess(await decodeImage(name, { channels }), preprocessing) }
  } catch (error) {
    // A missing decoder would fail for every image.
    if (error instanceof VitpassError && error.code !== 'RUNTIME_MISSING') return { name, error }
    throw error
  }
}
