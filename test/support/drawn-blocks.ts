import { attr } from '../../src/ir/attribute.ts'
import { floatTensor } from '../../src/ir/tensor-data.ts'
import type { Value } from '../../src/ir/value.ts'
import type { Builder } from '../../src/ops/builder.ts'
import { attend, gridShape, HEADS, inHeads, type Pen, project, scoresOf, WIDTH, weights } from './drawn-vit.ts'

/** Turns tokens [batch, tokens, 8] into tokens of the same shape. `seed` makes its weights. */
export type Block = (pen: Pen, x: Value, seed: number) => Value

const TOKENS = { axes: [1], keepdims: 1 }
const turned = (b: Builder, x: Value) => b.transpose(x, { perm: [0, 2, 1] })
const ones = (b: Builder) => b.constant(floatTensor([WIDTH], new Array(WIDTH).fill(1)))
export const normed = (b: Builder, x: Value) => b.layerNormalization(x, ones(b), { axis: -1 })

/** Attention whose probabilities are made of scores [batch, heads, query, key] by `soften`. */
const attention =
  (soften: (b: Builder, scores: Value, seed: number) => Value): Block =>
  ({ b }, x, seed) => {
    const mixed = b.matMul(soften(b, scoresOf(b, x, seed), seed), inHeads(b, project(b, x, seed + 2)))
    return b.add(x, b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), b.int64([0, 0, WIDTH])))
  }
const softmax = (b: Builder, scores: Value) => b.softmax(scores, { axis: -1 })

const cut = (b: Builder, x: Value, start: number, end: number, step = 1) =>
  b.slice(x, { starts: [start], ends: [end], axes: [1], steps: [step] })
const END = 2 ** 31

/** What a mask makes right, or what does not mix tokens at all. */
export const RIGHT: Readonly<Record<string, Block>> = {
  attention: ({ b }, x, seed) => attend(b, x, seed),
  mlp: ({ b }, x, seed) => b.add(x, project(b, b.relu(project(b, x, seed)), seed + 1)),
  normalisation: ({ b }, x) => normed(b, x),
  'softmax over the width': ({ b }, x) => b.softmax(x, { axis: -1 }),
  'length of each token': ({ b }, x) => b.div(x, b.add(b.reduceSum(b.abs(x), { axes: [2], keepdims: 1 }), b.float(1))),
  'a gate from the mean': ({ b }, x, seed) => b.mul(x, b.sigmoid(project(b, b.reduceMean(x, TOKENS), seed))),
  'what is above the mean': ({ b }, x) => b.sub(x, b.reduceMean(x, TOKENS)),
  'a gate from the maximum': ({ b }, x, seed) => b.mul(x, b.sigmoid(project(b, b.reduceMax(x, TOKENS), seed))),
  'what is above the minimum': ({ b }, x) => b.sub(x, b.reduceMin(x, TOKENS)),
  'variance over tokens': ({ b }, x) => {
    const centred = b.sub(x, b.reduceMean(x, TOKENS))
    return b.div(centred, b.sqrt(b.add(b.reduceMean(b.mul(centred, centred), TOKENS), b.float(0.1))))
  },
  'a score for each token': ({ b }, x, seed) => {
    const weight = b.softmax(b.matMul(x, weights(b, [WIDTH, 1], seed)), { axis: 1 })
    return b.add(x, b.reduceSum(b.mul(weight, x), TOKENS))
  },
  'attention with heads mixed before the softmax': attention((b, scores, seed) =>
    softmax(b, b.conv(scores, weights(b, [HEADS, HEADS, 1, 1], seed), { kernel_shape: [1, 1] })),
  ),
  'attention with heads scaled after the softmax': attention((b, scores, seed) =>
    b.mul(softmax(b, scores), weights(b, [1, HEADS, 1, 1], seed)),
  ),
  'attention with a temperature': attention((b, scores) => softmax(b, b.div(scores, b.float(3)))),
  'attention with scores cut': attention((b, scores) =>
    softmax(b, b.clip(scores, { min: b.float(-2), max: b.float(2) })),
  ),
  'attention that the mean of its scores centres': attention((b, scores) =>
    softmax(b, b.sub(scores, b.reduceMean(scores, { axes: [3], keepdims: 1 }))),
  ),
  'cross-attention of tokens and learned queries': ({ b }, x, seed) => {
    const queries = inHeads(b, weights(b, [1, 3, WIDTH], seed))
    const keys = b.transpose(inHeads(b, project(b, x, seed + 1)), { perm: [0, 1, 3, 2] })
    const seen = b.matMul(softmax(b, b.matMul(queries, keys)), inHeads(b, x))
    const back = b.softmax(b.matMul(inHeads(b, x), b.transpose(seen, { perm: [0, 1, 3, 2] })), { axis: -1 })
    const mixed = b.transpose(b.matMul(back, seen), { perm: [0, 2, 1, 3] })
    return b.add(x, b.reshape(mixed, b.int64([0, 0, WIDTH])))
  },
}

/** Attention to some of the tokens: `pick` takes keys and values out of them. */
const attentionTo =
  (pick: (b: Builder, x: Value) => Value): Block =>
  ({ b }, x, seed) => {
    const seen = pick(b, x)
    const keys = b.transpose(inHeads(b, project(b, seen, seed)), { perm: [0, 1, 3, 2] })
    const mixed = b.matMul(softmax(b, b.matMul(inHeads(b, project(b, x, seed + 1)), keys)), inHeads(b, seen))
    return b.add(x, b.reshape(b.transpose(mixed, { perm: [0, 2, 1, 3] }), b.int64([0, 0, WIDTH])))
  }

/** What a mask may or may not make right: it has to be refused, or right. */
export const DOUBTFUL: Readonly<Record<string, Block>> = {
  'tokens in reverse': ({ b }, x) => b.slice(x, { starts: [-1], ends: [-(2 ** 31)], axes: [1], steps: [-1] }),
  'tokens rolled by one': ({ b }, x) =>
    b.concat(
      [b.slice(x, { starts: [-1], ends: [2 ** 31], axes: [1] }), b.slice(x, { starts: [0], ends: [-1], axes: [1] })],
      { axis: 1 },
    ),
  'every token but the last, and that again': ({ b }, x) =>
    b.concat([cut(b, x, 0, -1), cut(b, x, -1, END)], { axis: 1 }),
  'the first token to all': ({ b }, x) => b.add(x, b.slice(x, { starts: [0], ends: [1], axes: [1] })),
  'the last token to all': ({ b }, x) => b.add(x, b.slice(x, { starts: [-1], ends: [2 ** 31], axes: [1] })),
  'neighbours by convolution': ({ b }, x, seed) =>
    turned(b, b.conv(turned(b, x), weights(b, [WIDTH, WIDTH, 3], seed), { kernel_shape: [3], pads: [1, 1] })),
  'a running sum': ({ b }, x) => b.cumSum(x, { axis: b.int64(1) }),
  'attention by sigmoid': attention((b, scores) => b.sigmoid(scores)),
  'attention by relu': attention((b, scores) => b.relu(scores)),
  'attention by exponentials': attention((b, scores) => {
    const powers = b.exp(b.sub(scores, b.reduceMax(scores, { axes: [3], keepdims: 1 })))
    return b.div(powers, b.reduceSum(powers, { axes: [3], keepdims: 1 }))
  }),
  'attention with something left for everyone': attention((b, scores) => b.add(softmax(b, scores), b.float(0.01))),
  'attention, squared': attention((b, scores) => b.pow(softmax(b, scores), b.float(2))),
  'attention by cosine': attention((b, scores) => b.cos(softmax(b, scores))),
  'attention, weakest first': attention((b, scores) => b.sub(b.float(1), softmax(b, scores))),
  'attention over queries': attention((b, scores) => b.softmax(scores, { axis: 2 })),
  'attention as its own square': attention((b, scores) => b.matMul(softmax(b, scores), softmax(b, scores))),
  'attention, turned': attention((b, scores) => b.transpose(softmax(b, scores), { perm: [0, 1, 3, 2] })),
  'attention, twice softened': attention((b, scores) => softmax(b, softmax(b, scores))),
  'attention, its logarithm': attention((b, scores) => b.log(b.add(softmax(b, scores), b.float(1)))),
  'attention to the others by where': attention((b, scores) =>
    b.where(b.greater(scores, b.float(0)), softmax(b, scores), b.float(0)),
  ),
  'attention to those below zero by where': attention((b, scores) =>
    b.where(b.less(scores, b.float(0)), softmax(b, scores), b.float(0.2)),
  ),
  'attention divided by its largest': attention((b, scores) => {
    const p = softmax(b, scores)
    return b.div(p, b.reduceMax(p, { axes: [3], keepdims: 1 }))
  }),
  'a product over tokens': ({ b }, x) => b.add(x, b.reduceProd(b.sigmoid(x), TOKENS)),
  'logarithm of a sum over tokens': ({ b, graph }, x) => {
    const [sum = x] = graph.emit('ReduceLogSumExp', [x], { attributes: { axes: attr.ints([1]) } })
    return b.add(x, sum)
  },
  'mean of squares by L2': ({ b, graph }, x) => {
    const [length = x] = graph.emit('ReduceL2', [x], { attributes: { axes: attr.ints([1]) } })
    return b.div(x, b.add(length, b.float(1)))
  },
  'means over tokens and width': ({ b }, x) => b.sub(x, b.reduceMean(x, { axes: [1, 2], keepdims: 1 })),
  'mean over the batch': ({ b }, x) => b.sub(x, b.reduceMean(x, { axes: [0], keepdims: 1 })),
  'mean over the batch and tokens': ({ b }, x) => b.sub(x, b.reduceMean(x, { axes: [0, 1], keepdims: 1 })),
  'keys times values': ({ b }, x, seed) => b.add(x, b.matMul(x, b.matMul(turned(b, project(b, x, seed)), x))),
  'keys times values, keys softened over tokens': ({ b }, x, seed) => {
    const keys = b.softmax(project(b, x, seed), { axis: 1 })
    return b.add(x, b.matMul(x, b.matMul(turned(b, keys), x)))
  },
  'rank of each token': ({ b }, x) => {
    const [values] = b.topK(x, { k: b.int64([1]), axis: 1 })
    return b.add(x, values)
  },
  'a count of tokens': ({ b }, x) => b.mul(x, b.cast(b.gather(b.shape(x), b.int64([1]), { axis: 0 }), { to: 'float' })),
  'rows of the grid': (pen, x, seed) => {
    const { b } = pen
    const shape = b.concat([b.int64([0, WIDTH]), gridShape(pen)], { axis: 0 })
    const map = b.reshape(turned(b, x), shape)
    const rows = b.mul(map, b.sigmoid(b.reduceMean(map, { axes: [3], keepdims: 1 })))
    return project(b, turned(b, b.reshape(rows, b.int64([0, WIDTH, -1]))), seed)
  },
  'largest of each column of the grid': (pen, x) => {
    const { b } = pen
    const map = b.reshape(turned(b, x), b.concat([b.int64([0, WIDTH]), gridShape(pen)], { axis: 0 }))
    const columns = b.sub(map, b.reduceMax(map, { axes: [2], keepdims: 1 }))
    return turned(b, b.reshape(columns, b.int64([0, WIDTH, -1])))
  },
  'the grid turned over': (pen, x) => {
    const { b } = pen
    const map = b.reshape(turned(b, x), b.concat([b.int64([0, WIDTH]), gridShape(pen)], { axis: 0 }))
    const over = b.transpose(map, { perm: [0, 1, 3, 2] })
    return turned(b, b.reshape(over, b.int64([0, WIDTH, -1])))
  },
  'attention along the rows of the grid': (pen, x, seed) => {
    const { b } = pen
    const shape = b.concat([b.int64([0]), gridShape(pen), b.int64([WIDTH])], { axis: 0 })
    const map = b.reshape(x, shape)
    const keys = b.transpose(b.matMul(map, weights(b, [WIDTH, WIDTH], seed)), { perm: [0, 1, 3, 2] })
    return b.add(x, b.reshape(b.matMul(b.softmax(b.matMul(map, keys), { axis: -1 }), map), b.int64([0, -1, WIDTH])))
  },
  'attention along the columns of the grid': (pen, x, seed) => {
    const { b } = pen
    const shape = b.concat([b.int64([0]), gridShape(pen), b.int64([WIDTH])], { axis: 0 })
    const map = b.transpose(b.reshape(x, shape), { perm: [0, 2, 1, 3] })
    const keys = b.transpose(b.matMul(map, weights(b, [WIDTH, WIDTH], seed)), { perm: [0, 1, 3, 2] })
    const mixed = b.transpose(b.matMul(b.softmax(b.matMul(map, keys), { axis: -1 }), map), { perm: [0, 2, 1, 3] })
    return b.add(x, b.reshape(mixed, b.int64([0, -1, WIDTH])))
  },
  'attention of the first token alone': ({ b }, x, seed) => {
    const query = inHeads(b, project(b, cut(b, x, 0, 1), seed))
    const scores = b.matMul(query, b.transpose(inHeads(b, project(b, x, seed + 1)), { perm: [0, 1, 3, 2] }))
    const mixed = b.transpose(b.matMul(softmax(b, scores), inHeads(b, x)), { perm: [0, 2, 1, 3] })
    return b.concat([b.reshape(mixed, b.int64([0, 0, WIDTH])), cut(b, x, 1, END)], { axis: 1 })
  },
  'attention to all but the first token': attentionTo((b, x) => cut(b, x, 1, END)),
  'attention to all but the first two tokens': attentionTo((b, x) => cut(b, x, 2, END)),
  'attention to all but the last token': attentionTo((b, x) => cut(b, x, 0, -1)),
  'attention to the first token': attentionTo((b, x) => cut(b, x, 0, 1)),
  'attention to the first two tokens': attentionTo((b, x) => b.concat([cut(b, x, 0, 1), cut(b, x, 0, 2)], { axis: 1 })),
  'attention to every other token': attentionTo((b, x) => cut(b, x, 0, END, 2)),
  'attention to all tokens, twice': attentionTo((b, x) => b.concat([x, x], { axis: 1 })),
  'attention to all tokens and their mean': attentionTo((b, x) => b.concat([x, b.reduceMean(x, TOKENS)], { axis: 1 })),
  'attention to all tokens, one learned among them': attentionTo((b, x) => {
    const batch = b.gather(b.shape(x), b.int64([0]), { axis: 0 })
    const learned = b.expand(weights(b, [1, 1, WIDTH], 9), b.concat([batch, b.int64([1, WIDTH])], { axis: 0 }))
    return b.concat([cut(b, x, 0, 1), learned, cut(b, x, 1, END)], { axis: 1 })
  }),
  'attention to all tokens and a zero': attentionTo((b, x) => b.pad(x, { pads: [0, 0, 0, 0, 1, 0] })),
  'attention to the tokens of each half of the width': attentionTo((b, x) => {
    const [left = x, right = x] = b.split(x, { split: [WIDTH / 2, WIDTH / 2], axis: 2 })
    return b.concat([right, left], { axis: 2 })
  }),
  'attention to the tokens before': ({ b }, x, seed) => {
    const count = b.squeeze(b.gather(b.shape(x), b.int64([1]), { axis: 0 }), { axes: [0] })
    const numbers = b.range(b.int64(0), count, b.int64(1))
    const before = b.greaterOrEqual(b.unsqueeze(numbers, { axes: [1] }), numbers)
    return attend(b, x, seed, (scores) => b.where(before, scores, b.float(-1e9)))
  },
  'attention by distance of the token numbers': ({ b }, x, seed) => {
    const count = b.squeeze(b.gather(b.shape(x), b.int64([1]), { axis: 0 }), { axes: [0] })
    const numbers = b.cast(b.range(b.int64(0), count, b.int64(1)), { to: 'float' })
    const distance = b.abs(b.sub(b.unsqueeze(numbers, { axes: [1] }), numbers))
    return attend(b, x, seed, (scores) => b.sub(scores, distance))
  },
  'softmax over the batch': ({ b }, x) => b.mul(x, b.softmax(x, { axis: 0 })),
  'a running sum over the batch': ({ b }, x) => b.cumSum(x, { axis: b.int64(0) }),
  'the first image to all': ({ b }, x) => b.add(x, b.slice(x, { starts: [0], ends: [1], axes: [0] })),
  'tokens merged two by two': ({ b }, x, seed) => {
    const pairs = b.reshape(x, b.int64([0, -1, 2 * WIDTH]))
    return b.reshape(b.matMul(pairs, weights(b, [2 * WIDTH, 2 * WIDTH], seed)), b.int64([0, -1, WIDTH]))
  },
  'the two halves of the tokens exchanged': ({ b }, x) => {
    const half = b.div(b.gather(b.shape(x), b.int64([1]), { axis: 0 }), b.int64([2]))
    const [first, second] = [
      b.slice(x, { starts: b.int64([0]), ends: half, axes: b.int64([1]) }),
      b.slice(x, { starts: half, ends: b.int64([END]), axes: b.int64([1]) }),
    ]
    return b.concat([second, first], { axis: 1 })
  },
  'attention over the batch': ({ b }, x, seed) => {
    const turn = (value: Value) => b.transpose(value, { perm: [1, 0, 2] })
    return turn(attend(b, turn(x), seed))
  },
  'attention over the batch and its tokens': ({ b }, x, seed) => {
    const all = b.unsqueeze(b.reshape(x, b.int64([-1, WIDTH])), { axes: [0] })
    return b.reshape(attend(b, all, seed), b.shape(x))
  },
  'the batch turned over': ({ b }, x) => b.slice(x, { starts: [-1], ends: [-END], axes: [0], steps: [-1] }),
  'normalisation over tokens and width': ({ b }, x) => {
    const centred = b.sub(x, b.reduceMean(x, { axes: [1, 2], keepdims: 1 }))
    return b.div(centred, b.sqrt(b.reduceMean(b.mul(centred, centred), { axes: [1, 2], keepdims: 1 })))
  },
  'instances normalised': ({ b, graph }, x) => {
    const [scale, bias] = [b.float(new Array(WIDTH).fill(1)), b.float(new Array(WIDTH).fill(0))]
    const [out = x] = graph.emit('InstanceNormalization', [turned(b, x), scale, bias])
    return turned(b, out)
  },
  'mean of everything': ({ b }, x) => b.sub(x, b.reduceMean(x, { keepdims: 1 })),
  'global average of the map': ({ b, graph, grid }, x) => {
    const [mean = grid] = graph.emit('GlobalAveragePool', [grid])
    return b.mul(x, turned(b, b.squeeze(mean, { axes: [3] })))
  },
  'softmax of scores for each query and key at once': attention((b, scores) => {
    const flat = b.softmax(b.flatten(scores, { axis: 2 }), { axis: 1 })
    return b.reshape(flat, b.shape(scores))
  }),
  'softmax over the heads': attention((b, scores) => b.softmax(scores, { axis: 1 })),
  'the heads of an image pooled': attention((b, scores) => {
    const p = softmax(b, scores)
    return b.add(b.mul(p, b.float(0)), b.reduceMean(p, { axes: [1], keepdims: 1 }))
  }),
  'tokens picked by what they hold': ({ b }, x) =>
    b.mul(x, b.cast(b.greater(x, b.reduceMean(x, { axes: [2], keepdims: 1 })), { to: 'float' })),
  'a product of every token with every other': ({ b }, x) => {
    const products = b.mul(b.unsqueeze(x, { axes: [1] }), b.unsqueeze(x, { axes: [2] }))
    return b.add(x, b.reduceMean(products, { axes: [2], keepdims: 0 }))
  },
  'distances between tokens': ({ b }, x) => {
    const apart = b.abs(b.sub(b.unsqueeze(x, { axes: [1] }), b.unsqueeze(x, { axes: [2] })))
    return b.add(x, b.reduceMax(apart, { axes: [2], keepdims: 0 }))
  },
  'positions in the place of tokens': (pen, x) => {
    const { b } = pen
    const numbers = b.cast(b.nonZero(b.greater(b.reduceMax(b.abs(x), { axes: [0, 2], keepdims: 0 }), b.float(-1))), {
      to: 'float',
    })
    return b.add(x, b.sin(b.transpose(b.unsqueeze(numbers, { axes: [0] }), { perm: [0, 2, 1] })))
  },
  'batch and tokens in one axis': ({ b }, x, seed) => {
    const flat = b.reshape(x, b.int64([-1, WIDTH]))
    const weight = b.softmax(b.matMul(flat, weights(b, [WIDTH, 1], seed)), { axis: 0 })
    return b.add(x, b.unsqueeze(b.reduceSum(b.mul(weight, flat), { axes: [0], keepdims: 1 }), { axes: [0] }))
  },
}

/** What is done to the image before it is cut into patches. */
export const PREPARED: Readonly<Record<string, (b: Builder, pixels: Value) => Value>> = {
  'normalised by constants': (b, x) => {
    const channels = (...xs: number[]) => b.constant(floatTensor([1, 3, 1, 1], xs))
    return b.div(b.sub(b.mul(x, b.float(0.5)), channels(0.4, 0.5, 0.6)), channels(0.2, 0.3, 0.4))
  },
  'its mean taken away': (b, x) => b.sub(x, b.reduceMean(x, { axes: [2, 3], keepdims: 1 })),
  'divided by its largest pixel': (b, x) => b.div(x, b.reduceMax(b.abs(x), { axes: [1, 2, 3], keepdims: 1 })),
  'a ramp added that ends at one': (b, x) => {
    const width = b.gather(b.shape(x), b.int64(3), { axis: 0 })
    const ramp = b.cast(b.range(b.int64(0), width, b.int64(1)), { to: 'float' })
    return b.add(x, b.div(ramp, b.cast(width, { to: 'float' })))
  },
  'divided by its number of pixels': (b, x) => {
    const pixels = b.cast(b.size(x), { to: 'float' })
    return b.mul(x, b.div(b.float(1000), pixels))
  },
  'the mean of the batch taken away': (b, x) => b.sub(x, b.reduceMean(x, { axes: [0], keepdims: 1 })),
  mirrored: (b, x) => b.slice(x, { starts: [-1], ends: [-END], axes: [3], steps: [-1] }),
  blurred: (b, x) => {
    const shifted = b.pad(b.slice(x, { starts: [1], ends: [END], axes: [3] }), { pads: [0, 0, 0, 0, 0, 0, 0, 1] })
    return b.add(x, shifted)
  },
  'made twice as large': (b, x) => b.resize(x, { scales: b.float([1, 1, 2, 2]), mode: 'nearest' }),
}

/** What tokens may be given of the image besides their patch. */
export const BESIDE: Readonly<Record<string, Block>> = {
  'the mean of the pixels': ({ b, pixels }, x) =>
    b.add(x, b.unsqueeze(b.reduceMean(pixels, { axes: [1, 2, 3], keepdims: 0 }), { axes: [1, 2] })),
  'a gate from the largest pixel': ({ b, pixels }, x) => {
    const largest = b.reduceMax(pixels, { axes: [1, 2, 3], keepdims: 0 })
    return b.mul(x, b.unsqueeze(largest, { axes: [1, 2] }))
  },
  'a gate from the mean of the patch embedding': ({ b, grid }, x) => {
    const mean = b.reduceMean(grid, { axes: [1, 2, 3], keepdims: 0 })
    return b.mul(x, b.unsqueeze(mean, { axes: [1, 2] }))
  },
  'the height of the image': ({ b, pixels }, x) => {
    const height = b.gather(b.shape(pixels), b.int64([2]), { axis: 0 })
    return b.add(x, b.log(b.cast(height, { to: 'float' })))
  },
  'the height of the image, through a matrix': ({ b, pixels }, x, seed) => {
    const size = b.cast(b.slice(b.shape(pixels), { starts: [2], ends: [4], axes: [0] }), { to: 'float' })
    return b.add(x, b.matMul(b.log(b.unsqueeze(size, { axes: [0] })), weights(b, [2, WIDTH], seed)))
  },
  'a token of the size of the image': ({ b, pixels }, x, seed) => {
    const size = b.cast(b.slice(b.shape(pixels), { starts: [2], ends: [4], axes: [0] }), { to: 'float' })
    const token = b.matMul(b.log(b.unsqueeze(size, { axes: [0, 1] })), weights(b, [2, WIDTH], seed))
    const batch = b.gather(b.shape(x), b.int64([0]), { axis: 0 })
    const each = b.expand(token, b.concat([batch, b.int64([1, WIDTH])], { axis: 0 }))
    return b.slice(attend(b, b.concat([each, x], { axis: 1 })), { starts: [1], ends: [END], axes: [1] })
  },
}
