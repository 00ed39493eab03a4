import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import onnxProto from 'onnx-proto'
import { decodeModel } from '../../src/onnx/codec.ts'
import { readSkeleton } from '../../src/onnx/skeleton.ts'
import { MemorySource } from '../../src/onnx/wire.ts'

const FIXTURES = fileURLToPath(new URL('../../fixtures/', import.meta.url))

/** Every model under fixtures/, as paths. */
export const fixturePaths: readonly string[] = readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.onnx'))
  .sort()
  .map((name) => join(FIXTURES, name))

export function fixtureBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path))
}

/** What the decoder of another package sees in a model: plain data, to be compared. */
export function seenByOnnxProto(bytes: Uint8Array): unknown {
  const { ModelProto } = onnxProto.onnx
  return ModelProto.toObject(ModelProto.decode(bytes), { longs: String, bytes: String, json: true })
}

/** What our own codec sees, elements included. */
export function seenByCodec(bytes: Uint8Array): unknown {
  return plain(decodeModel(readSkeleton(new MemorySource(bytes)), 'model'))
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`
  if (typeof value === 'bigint') return `${value}n`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  if ('kind' in value) return plainPayload(value)
  const unknown = '$unknowns' in value ? [['$unknowns', plain(value.$unknowns)]] : []
  return Object.fromEntries([...Object.entries(value).map(([key, each]) => [key, plain(each)]), ...unknown])
}

function plainPayload(payload: object): unknown {
  if ('source' in payload && payload.source instanceof MemorySource && 'offset' in payload && 'length' in payload) {
    return plain(payload.source.read(Number(payload.offset), Number(payload.length)))
  }
  return 'bytes' in payload ? [('field' in payload && payload.field) || 'raw', plain(payload.bytes)] : null
}
