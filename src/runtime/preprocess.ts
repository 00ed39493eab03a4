import type { Image, Size } from './image.ts'
import type { Preprocessing } from './preprocessing.ts'
import { emptyLike, type Raster, resample } from './resample.ts'
import { targetSize } from './resize-policy.ts'

/**
 * Prepares a decoded image for the model: resized, cropped, scaled and normalised, channels first. The numbers are those of the image
 * processors of transformers that use Pillow. Lets the event loop turn every few milliseconds while it resizes.
 * @param raster bytes [height, width, channels], as many channels as `mean` has
 */
export async function preprocess(raster: Raster, preprocessing: Preprocessing): Promise<Image> {
  const { resize, crop, scale } = preprocessing
  const size = resize === null ? raster : targetSize(resize.to, raster)
  if (resize?.floats) {
    const scaled = { ...raster, data: Float32Array.from(raster.data, (value) => value * scale) }
    return normaliseFloats(cropped(await resample(scaled, size, resize.filter), crop), preprocessing)
  }
  const resized = resize === null ? raster : await resample(raster, size, resize.filter)
  return normaliseBytes(cropped(resized, crop), preprocessing)
}

/** The middle of the image; black around it where it is smaller. Halves are rounded as by the torchvision processors of transformers 5. */
function cropped<T extends Uint8Array | Float32Array>(raster: Raster<T>, crop: Size | null): Raster<T> {
  if (crop === null || (crop.height === raster.height && crop.width === raster.width)) return raster
  const { channels } = raster
  const data = emptyLike(raster.data, crop.height * crop.width * channels)
  const rows = overlap(raster.height, crop.height)
  const cols = overlap(raster.width, crop.width)
  for (let row = 0; row < rows.length; row++) {
    const from = ((rows.from + row) * raster.width + cols.from) * channels
    const to = ((rows.to + row) * crop.width + cols.to) * channels
    data.set(raster.data.subarray(from, from + cols.length * channels), to)
  }
  return { data, ...crop, channels }
}

/** Where a length's middle lies in another length. */
function overlap(
  length: number,
  wanted: number,
): { readonly from: number; readonly to: number; readonly length: number } {
  return {
    from: Math.max(0, Math.floor((length - wanted) / 2)),
    to: Math.max(0, Math.floor((wanted - length) / 2)),
    length: Math.min(length, wanted),
  }
}

/** Each of the 256 values is worked out once for each channel, in single precision as numpy does it. */
function normaliseBytes(raster: Raster, preprocessing: Preprocessing): Image {
  const tables = preprocessing.mean.map((_, channel) =>
    Float32Array.from({ length: 256 }, (_, byte) =>
      normalised(Math.fround(byte * preprocessing.scale), channel, preprocessing),
    ),
  )
  return channelsFirst(raster, preprocessing, (byte, channel) => tables[channel]?.[byte] ?? 0)
}

function normaliseFloats(raster: Raster<Float32Array>, preprocessing: Preprocessing): Image {
  return channelsFirst(raster, preprocessing, (value, channel) => normalised(value, channel, preprocessing))
}

function normalised(value: number, channel: number, { mean, std }: Preprocessing): number {
  return Math.fround(value - Math.fround(mean[channel] ?? 0)) / Math.fround(std[channel] ?? 1)
}

function channelsFirst(
  { data, height, width, channels }: Raster<Uint8Array | Float32Array>,
  { reversed }: Preprocessing,
  value: (raw: number, channel: number) => number,
): Image {
  const pixels = height * width
  const out = new Float32Array(pixels * channels)
  for (let channel = 0; channel < channels; channel++) {
    const from = reversed ? channels - 1 - channel : channel
    for (let i = 0; i < pixels; i++) out[channel * pixels + i] = value(data[i * channels + from] ?? 0, channel)
  }
  return { data: out, channels, height, width }
}
