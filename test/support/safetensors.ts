export type { Dense } from '../../src/runtime/session.ts'
export { readSafetensors } from '../../src/verify/safetensors.ts'
