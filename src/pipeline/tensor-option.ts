/** A tensor as the value of an option. Reports and metadata name it by its shape and a checksum, not by its elements. */
export class TensorOption {
  readonly dims: readonly number[]
  readonly data: Float64Array

  /** @param data row-major, as many elements as the dims say */
  constructor(dims: readonly number[], data: ArrayLike<number>) {
    this.dims = dims
    this.data = Float64Array.from(data)
  }

  toString(): string {
    const words = new Uint32Array(this.data.buffer)
    let sum = 2166136261
    for (const word of words) sum = Math.imul(sum ^ word, 16777619) >>> 0
    return `[${this.dims.join(', ')}] ${sum.toString(16)}`
  }
}
