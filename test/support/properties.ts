import { checkProperties as check } from '../../src/verify/golden-properties.ts'
import type { GoldenSubject } from '../../src/verify/golden-subject.ts'
import type { Measured } from '../../src/verify/measure.ts'
import { PROVIDER } from './ort.ts'

export type Masking = GoldenSubject['masking']

/** What `vitpass golden check` measures, with the provider that tests run on. */
export function checkProperties(subject: GoldenSubject): Promise<Measured[]> {
  return check({ ...subject, providers: [PROVIDER] })
}
