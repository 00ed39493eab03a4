/** A binary float format of at most 16 bits: mantissa bits and exponent bias. */
interface SmallFloat {
  readonly mantissa: number
  readonly bias: number
}

const FLOAT16: SmallFloat = { mantissa: 10, bias: 15 }
const BFLOAT16: SmallFloat = { mantissa: 7, bias: 127 }

const view = new DataView(new ArrayBuffer(8))

/** Rounds once, from the double to the format: to nearest, ties to even. NaN becomes the quiet NaN. */
function encode(value: number, { mantissa, bias }: SmallFloat): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const infinity = (2 * bias + 1) << mantissa
  if (Number.isNaN(value)) return infinity | (1 << (mantissa - 1))
  const size = Math.abs(value)
  if (size === 0) return sign
  if (size === Number.POSITIVE_INFINITY) return sign | infinity
  view.setFloat64(0, size)
  const exponent = Math.max((view.getUint16(0) >> 4) - 1023, 1 - bias)
  const steps = roundHalfEven(size / 2 ** (exponent - mantissa))
  // Adding the steps to the exponent field carries over into it where rounding reaches the next power of two.
  const bits = ((exponent + bias - 1) << mantissa) + steps
  return sign | Math.min(bits, infinity)
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1
  return below % 2 === 0 ? below : below + 1
}

/** Bits of the nearest IEEE half; ties to even, infinity from 65520 on. */
export function toFloat16Bits(value: number): number {
  return encode(value, FLOAT16)
}

/** Bits of the nearest bfloat16; ties to even. */
export function toBfloat16Bits(value: number): number {
  return encode(value, BFLOAT16)
}

export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const mantissa = bits & 1023
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  if (exponent === 0) return sign * mantissa * 2 ** -24
  return sign * (1024 + mantissa) * 2 ** (exponent - 25)
}

export function fromBfloat16Bits(bits: number): number {
  view.setUint32(0, bits << 16)
  return view.getFloat32(0)
}
