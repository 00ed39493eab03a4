import type { Registry } from '../src/pipeline/run.ts'
import { bucket } from './bucket.ts'
import { canonical } from './canonical.ts'
import { dynshape } from './dynshape.ts'
import { eager } from './eager.ts'
import { mask } from './mask.ts'
import { posenc } from './posenc.ts'
import { zero } from './zero.ts'

/** Every pass, in the order in which they run. */
export const registry: Registry = {
  passes: [canonical, eager, dynshape, mask, posenc, zero, bucket],
  presets: { padproof: ['eager', 'dynshape', 'mask', 'posenc', 'zero'] },
}
