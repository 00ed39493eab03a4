/** The door of `vitpass/runtime`: what runs models. Needs onnxruntime-node, and sharp to decode image files. */
export type { ImageError } from './check-image.ts'
export { type Encoded, ImageEncoder, type MaybeImage } from './encoder.ts'
export type { EncoderOptions } from './encoder-options.ts'
export type { Image, Size } from './image.ts'
export type { ProviderReason } from './lanes.ts'
export type { PaddedSizes } from './padded-images.ts'
export type { RowStream } from './row-stream.ts'
export { type Dense, type Feed, Session, type SessionOptions } from './session.ts'
