import { DTYPES } from '../ir/dtype.ts'
import type { Value, ValueType } from '../ir/value.ts'
import type { TensorShapeProtoDimension, TypeProto, ValueInfoProto } from './generated/messages.ts'
import { derive, text, ValueOrigin } from './origin.ts'

/** The declaration of a value as an input or in `value_info` (`info`), or as an output. */
export function serializeValueInfo(value: Value, role: 'info' | 'output'): ValueInfoProto {
  const origin = value.passthrough instanceof ValueOrigin ? value.passthrough : undefined
  const before = origin?.[role] ?? origin?.info ?? origin?.output ?? undefined
  const type =
    value.type !== null && value.type === origin?.type ? before?.type : serializeType(value.type, before?.type)
  return derive(before, { name: text(value.name, before?.name), type })
}

function serializeType(type: ValueType | null, before: TypeProto | undefined): TypeProto | undefined {
  if (type === null) return undefined
  if (type.kind === 'other') return before
  const dimsBefore = before?.tensorType?.shape?.dim ?? []
  const dims = type.dims?.map((dim, index): TensorShapeProtoDimension => {
    // A denotation says what an axis means, which stays true while the rank stays.
    const kept = dimsBefore.length === type.dims?.length ? dimsBefore[index] : undefined
    if (typeof dim === 'number') return derive(kept, { dimValue: BigInt(dim), dimParam: undefined })
    return derive(kept, { dimValue: undefined, dimParam: dim ?? undefined })
  })
  const shape = dims === undefined ? undefined : derive(before?.tensorType?.shape, { dim: dims })
  return derive(before?.tensorType === undefined ? undefined : before, {
    tensorType: derive(before?.tensorType, { elemType: DTYPES[type.dtype], shape }),
  })
}
