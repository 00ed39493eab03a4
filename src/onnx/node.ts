/** Models in files: what `vitpass/node` exports. */
export { readModel } from './node-read.ts'
export { type WriteOptions, writeModel } from './node-write.ts'
