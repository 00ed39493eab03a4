import type { SizeCount } from '../batching/buckets.ts'
import type { Size } from '../batching/cost.ts'
import { type Bucket, type BucketHints, type BucketUse, bucketFor } from '../batching/hints.ts'
import { formatCount } from './table.ts'

/** The plane of sizes, in units of the picture: its place and its longer side. */
const PLANE = { left: 70, top: 70, side: 520 }
const BARS = { left: 650, width: 310, step: 44 }
const MARGIN = 40

/** Lengths in pixels between two lines of the scale, of which the first that gives few enough lines is taken. */
const STEPS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
const MOST_LINES = 9

/** The largest dot, in units of the picture. */
const LARGEST_DOT = 11

/**
 * A picture (SVG) of buckets: how many images have which size, which bucket holds them, and how much of each bucket is padding.
 * @param sizes of the images in whole patches, each of which fits a bucket
 */
export function drawBuckets(hints: BucketHints, sizes: readonly SizeCount[]): string {
  const { buckets, expected } = hints
  const extent = {
    height: Math.max(...buckets.map(({ height }) => height), ...sizes.map(({ height }) => height)),
    width: Math.max(...buckets.map(({ width }) => width), ...sizes.map(({ width }) => width)),
  }
  const scale = PLANE.side / Math.max(extent.height, extent.width)
  const height = MARGIN + Math.max(PLANE.top + extent.height * scale, PLANE.top + 20 + buckets.length * BARS.step)
  const width = BARS.left + BARS.width + MARGIN
  const images = formatCount(expected?.images ?? 0, 'image')
  const title = `${images} in ${formatCount(buckets.length, 'bucket')}, ${percent(expected?.padding ?? 0)} padding`
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${round(height)}" width="${width}" height="${round(height)}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="#222">`,
    `<title>${title}</title>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    text(PLANE.left, 28, title, 'font-size="18" font-weight="600"'),
    ...drawScale(extent, scale),
    ...[...buckets.entries()].reverse().map(([i, bucket]) => drawRoom(bucket, hueOf(i, buckets.length), scale)),
    ...drawDots(sizes, hints, scale),
    ...buckets.map((bucket, i) => drawName(bucket, hueOf(i, buckets.length), scale)),
    ...drawBars(buckets),
    '</svg>',
  ].join('\n')}\n`
}

function drawScale(extent: Size, scale: number): string[] {
  const longer = Math.max(extent.height, extent.width)
  const step = STEPS.find((length) => longer / length <= MOST_LINES) ?? longer
  const marks = (length: number): number[] => Array.from({ length: Math.floor(length / step) + 1 }, (_, i) => i * step)
  const right = PLANE.left + extent.width * scale
  const bottom = PLANE.top + extent.height * scale
  const line = (x1: number, y1: number, x2: number, y2: number): string =>
    `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="#e4e4e4"/>`
  const across = marks(extent.width).flatMap((mark) => {
    const x = PLANE.left + mark * scale
    return [line(x, PLANE.top, x, bottom), text(x, PLANE.top - 8, `${mark}`, 'text-anchor="middle" fill="#666"')]
  })
  const down = marks(extent.height).flatMap((mark) => {
    const y = PLANE.top + mark * scale
    return [line(PLANE.left, y, right, y), text(PLANE.left - 8, y + 4, `${mark}`, 'text-anchor="end" fill="#666"')]
  })
  const upright = `text-anchor="end" transform="rotate(-90 18 ${PLANE.top})" fill="#666"`
  return [
    ...across,
    ...down,
    text(right, PLANE.top - 24, 'width in pixels', 'text-anchor="end" fill="#666"'),
    text(18, PLANE.top, 'height in pixels', upright),
  ]
}

/** The rectangle of all sizes that a bucket has room for. */
function drawRoom({ height, width }: Size, hue: number, scale: number): string {
  const size = `width="${round(width * scale)}" height="${round(height * scale)}"`
  const paint = `fill="hsl(${hue} 70% 50%)" fill-opacity="0.06" stroke="hsl(${hue} 70% 38%)" stroke-width="1.5"`
  return `<rect class="bucket" x="${PLANE.left}" y="${PLANE.top}" ${size} ${paint}/>`
}

function drawName({ height, width }: Size, hue: number, scale: number): string {
  const halo = 'paint-order="stroke" stroke="#fff" stroke-width="3"'
  const place = `text-anchor="end" font-size="11" fill="hsl(${hue} 70% 30%)" ${halo}`
  return text(PLANE.left + width * scale - 4, PLANE.top + height * scale - 5, `${height}x${width}`, place)
}

function drawDots(dots: readonly SizeCount[], hints: BucketHints, scale: number): string[] {
  const most = Math.max(...dots.map(({ count }) => count))
  return dots.map((dot) => {
    const home = bucketFor(dot, hints)
    const paint =
      home === undefined
        ? 'fill="#888"'
        : `fill="hsl(${hueOf(hints.buckets.indexOf(home), hints.buckets.length)} 70% 45%)"`
    const radius = round(Math.max(1.5, LARGEST_DOT * Math.sqrt(dot.count / most)))
    const [x, y] = [round(PLANE.left + dot.width * scale), round(PLANE.top + dot.height * scale)]
    const about = `${formatCount(dot.count, 'image')} of up to ${dot.height}x${dot.width}`
    return `<circle cx="${x}" cy="${y}" r="${radius}" ${paint} fill-opacity="0.6"><title>${about}</title></circle>`
  })
}

/** For each bucket how many tokens its images take, and how many of them are padding. */
function drawBars(buckets: readonly (Bucket & Partial<BucketUse>)[]): string[] {
  const totals = buckets.map(({ images = 0, tokens = 0 }) => images * tokens)
  const most = Math.max(1, ...totals)
  const head = text(BARS.left, PLANE.top - 8, 'tokens by bucket: images full, padding light', 'fill="#666"')
  const bars = buckets.flatMap(({ height, width, batch, images = 0, padding = 0 }, i) => {
    const top = PLANE.top + 8 + i * BARS.step
    const hue = hueOf(i, buckets.length)
    const whole = (BARS.width * (totals[i] ?? 0)) / most
    const bar = (length: number, opacity: number): string =>
      `<rect x="${BARS.left}" y="${top + 18}" width="${round(length)}" height="12" fill="hsl(${hue} 70% 45%)" fill-opacity="${opacity}"/>`
    const label = `${height}x${width} in ${batch}s: ${formatCount(images, 'image')}, ${percent(padding)} padding`
    return [text(BARS.left, top + 12, label), bar(whole, 0.25), bar(whole * (1 - padding), 0.9)]
  })
  return [head, ...bars]
}

/** Hues that neighbours do not share. */
function hueOf(index: number, count: number): number {
  return Math.round((360 * index) / Math.max(1, count) + 210) % 360
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${round(x)}" y="${round(y)}"${more === '' ? '' : ` ${more}`}>${content}</text>`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

function round(length: number): number {
  return Math.round(length * 100) / 100
}
