import { VitpassError } from '../errors.ts'

/** Decodes packed protobuf varints as the low 64 bits of each. @throws VitpassError MODEL_INVALID when one is cut off or too long */
export function unpackVarints(bytes: Uint8Array): bigint[] {
  const values: bigint[] = []
  let at = 0
  while (at < bytes.length) {
    let low = 0
    let high = 0n
    let count = 0
    for (;;) {
      const byte = bytes[at]
      if (byte === undefined || count === 10) throw new VitpassError('MODEL_INVALID', 'a packed integer is cut off')
      at += 1
      if (count < 4) low += (byte & 127) * 2 ** (7 * count)
      else high |= BigInt(byte & 127) << BigInt(7 * count)
      count += 1
      if (byte < 128) break
    }
    values.push(count <= 4 ? BigInt(low) : BigInt.asUintN(64, high | BigInt(low)))
  }
  return values
}
