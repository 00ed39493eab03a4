import type { DType } from '../ir/dtype.ts'

/** Smallest and largest number of the integer types that quantised tensors have. */
const RANGES: Partial<Record<DType, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int4: [-8, 7],
  uint4: [0, 15],
}

/** The range of a type that numbers are quantised to; null for types without integers, such as float8. */
export function quantisedRange(dtype: DType | undefined): readonly [number, number] | null {
  return (dtype === undefined ? undefined : RANGES[dtype]) ?? null
}

/** `saturate(round(x / scale) + zeroPoint)`, in floats, ties to even, as ONNX defines QuantizeLinear. */
export function quantise(x: number, scale: number, zeroPoint: number, [low, high]: readonly [number, number]): number {
  return Math.min(high, Math.max(low, roundToEven(Math.fround(Math.fround(x) / Math.fround(scale))) + zeroPoint))
}

/** `(x - zeroPoint) * scale`, in floats. */
export function dequantise(x: number, scale: number, zeroPoint: number): number {
  return Math.fround((x - zeroPoint) * Math.fround(scale))
}

function roundToEven(x: number): number {
  const floor = Math.floor(x)
  if (x - floor !== 0.5) return Math.round(x)
  return floor % 2 === 0 ? floor : floor + 1
}
