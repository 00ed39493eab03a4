/** Element types by their ONNX name; the numbers are those of `TensorProto.DataType`. */
export const DTYPES = {
  undefined: 0,
  float: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  double: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
  float8e4m3fn: 17,
  float8e4m3fnuz: 18,
  float8e5m2: 19,
  float8e5m2fnuz: 20,
  uint4: 21,
  int4: 22,
  float4e2m1: 23,
  float8e8m0: 24,
  uint2: 25,
  int2: 26,
} as const

export type DType = keyof typeof DTYPES

const NAMES = new Map<number, DType>(Object.entries(DTYPES).map(([name, id]) => [id, name as DType]))

/** The name of an ONNX data type number, or undefined for a number that no ONNX version assigns. */
export function dtypeName(id: number): DType | undefined {
  return NAMES.get(id)
}

const BITS: Partial<Record<DType, number>> = {
  float: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  bool: 8,
  float16: 16,
  double: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
  float4e2m1: 4,
  float8e8m0: 8,
  uint2: 2,
  int2: 2,
}

/** Bits of one element in `raw_data` (4- and 2-bit types are packed); undefined for strings and undefined. */
export function dtypeBits(dtype: DType): number | undefined {
  return BITS[dtype]
}

export type FloatType = 'float' | 'float16' | 'bfloat16' | 'double'

export function isFloat(dtype: DType): dtype is FloatType {
  return dtype === 'float' || dtype === 'float16' || dtype === 'bfloat16' || dtype === 'double'
}

export function isInteger(dtype: DType): boolean {
  return /^u?int(8|16|32|64)$/.test(dtype)
}
