import { describe, expect, it } from 'vitest'
import { parseNpy } from '../../src/cli/npy.ts'
import { VitpassError } from '../../src/errors.ts'

/** A .npy file as NumPy writes it. */
function npy(header: string, data: ArrayBufferView, version = 1): Uint8Array {
  const start = version === 1 ? 10 : 12
  const text = `${header.padEnd(Math.ceil((start + header.length + 1) / 64) * 64 - start - 1)}\n`
  const head = Buffer.alloc(start)
  head.write('\x93NUMPY', 'latin1')
  head[6] = version
  if (version === 1) head.writeUInt16LE(text.length, 8)
  else head.writeUInt32LE(text.length, 8)
  // Behind another file's bytes in one buffer, as small files are read.
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const pool = Buffer.concat([Buffer.from('xyz'), head, Buffer.from(text), bytes])
  return pool.subarray(3)
}

const header = (descr: string, shape: string, order = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape}), }`

describe('a .npy file', () => {
  it.each([
    ['<f4', new Float32Array([1, -2.5, 3])],
    ['<f8', new Float64Array([1, -2.5, 3])],
    ['<f2', new Uint16Array([0x3c00, 0xc100, 0x4200])],
  ])('of %s is read', (descr, data) => {
    for (const version of [1, 2]) {
      const { dims, data: got } = parseNpy(npy(header(descr, '1, 3'), data, version), 'a.npy')
      expect(dims).toEqual([1, 3])
      expect(Array.from(got)).toEqual([1, -2.5, 3])
    }
  })

  it('has one axis with a comma behind it', () => {
    expect(parseNpy(npy(header('<f4', '2,'), new Float32Array([1, 2])), 'a.npy').dims).toEqual([2])
  })

  it.each<[string, Uint8Array, RegExp]>([
    ['another format', Buffer.from('PK\x03\x04 something else'), /is no .npy file/],
    ['big-endian numbers', npy(header('>f4', '1,'), new Float32Array(1)), /holds >f4/],
    ['integers', npy(header('<i8', '1,'), new BigInt64Array(1)), /holds <i8/],
    ['columns first', npy(header('<f4', '1, 1', 'True'), new Float32Array(1)), /not in C order/],
    ['too few numbers', npy(header('<f4', '3,'), new Float32Array(2)), /another length/],
    ['a length that is no number', npy(header('<f4', 'x,'), new Float32Array(2)), /another length/],
  ])('of %s is refused', (_, bytes, reason) => {
    expect(() => parseNpy(bytes, 'a.npy')).toThrow(VitpassError)
    expect(() => parseNpy(bytes, 'a.npy')).toThrow(reason)
  })
})
