import { dirname, resolve } from 'node:path'
import { VitpassError } from '../errors.ts'
import type { Model } from '../ir/model.ts'
import { externalFiles } from './node-external.ts'
import { FileSource } from './node-source.ts'
import { parseModelFrom } from './parse.ts'

/**
 * Reads a model's structure; its weights stay in the file, which is kept open, and external data in theirs.
 * @throws VitpassError FILE_NOT_FOUND, FILE_UNREADABLE, NOT_ONNX, MODEL_TRUNCATED, MODEL_INVALID, EXTERNAL_DATA
 */
export async function readModel(path: string): Promise<Model> {
  return parseModelFrom(openModel(path), externalFiles(dirname(resolve(path)), path))
}

function openModel(path: string): FileSource {
  let source: FileSource
  try {
    source = FileSource.open(path)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new VitpassError('FILE_NOT_FOUND', 'there is no such file', {
        where: path,
        remedy: 'check the path',
        cause,
      })
    }
    if (code === 'EISDIR') throw folder(path)
    throw new VitpassError('FILE_UNREADABLE', `the file cannot be opened (${String(code)})`, {
      where: path,
      remedy: 'check its permissions',
      cause,
    })
  }
  if (!source.isFile) throw folder(path)
  return source
}

function folder(path: string): VitpassError {
  return new VitpassError('FILE_UNREADABLE', 'this is a folder or a device, not a file', {
    where: path,
    remedy: 'give the .onnx file itself',
  })
}
