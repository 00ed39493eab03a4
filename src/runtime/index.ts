/** The door of `vitpass/runtime`: what runs models. Needs onnxruntime-node, and sharp to decode image files. */
export { type Dense, type Feed, Session, type SessionOptions } from './session.ts'
