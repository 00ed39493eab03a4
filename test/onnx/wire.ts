/** A protobuf writer that knows nothing of the code under test: messages are lists of fields, made by hand. */
export type Bytes = Uint8Array

export function concat(...parts: readonly Bytes[]): Bytes {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

export function varint(value: number | bigint): Bytes {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

function tag(field: number, wireType: number): Bytes {
  return varint(field * 8 + wireType)
}

export function int(field: number, value: number | bigint): Bytes {
  return concat(tag(field, 0), varint(value))
}

export function message(field: number, ...parts: readonly Bytes[]): Bytes {
  const body = concat(...parts)
  return concat(tag(field, 2), varint(body.length), body)
}

export function text(field: number, value: string): Bytes {
  return message(field, new TextEncoder().encode(value))
}

export function word32(field: number, bits: number): Bytes {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, bits, true)
  return concat(tag(field, 5), bytes)
}

export function word64(field: number, bits: bigint): Bytes {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, bits, true)
  return concat(tag(field, 1), bytes)
}

export function group(field: number, ...parts: readonly Bytes[]): Bytes {
  return concat(tag(field, 3), ...parts, tag(field, 4))
}

/** A model around the fields of its graph: IR 10, ai.onnx opset 20. */
export function model(...graph: readonly Bytes[]): Bytes {
  return modelOf([], ...graph)
}

/** The same with more fields of the model, which must have numbers above 14. */
export function modelOf(more: readonly Bytes[], ...graph: readonly Bytes[]): Bytes {
  return concat(int(1, 10), message(7, ...graph), message(8, text(1, ''), int(2, 20)), ...more)
}

/** A `ValueInfoProto` of a float tensor with named dims. */
export function floatInfo(field: number, name: string, ...dims: readonly string[]): Bytes {
  const shape = message(2, ...dims.map((dim) => message(1, text(2, dim))))
  return message(field, text(1, name), message(2, message(1, int(1, 1), shape)))
}

/** A node without attributes, or with those given (`message(5, ...)`). */
export function node(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  ...more: readonly Bytes[]
): Bytes {
  return message(
    1,
    ...inputs.map((each) => text(1, each)),
    ...outputs.map((each) => text(2, each)),
    text(4, opType),
    ...more,
  )
}

/** The same in a function, where nodes have another number. */
export function functionNode(...args: Parameters<typeof node>): Bytes {
  return concat(Uint8Array.of(7 * 8 + 2), node(...args).subarray(1))
}
