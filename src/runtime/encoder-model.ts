import type { DType } from '../ir/dtype.ts'
import type { DeclaredDim } from '../ir/value.ts'
import type { Size } from './image.ts'

/** An input or output as the file declares it. */
export interface Port {
  readonly name: string
  readonly dtype: DType
  /** Null where the rank is not said. */
  readonly dims: readonly DeclaredDim[] | null
}

/** What is known of a model from its file, before it runs. */
export interface EncoderModel {
  /** Inputs that the caller must give: those without an initializer. */
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly metadata: ReadonlyMap<string, string>
  /** Stride of the convolution that turns pixels into patches, where there is one whose kernels do not overlap. */
  readonly patch: Size | null
}
