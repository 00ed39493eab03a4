/**
 * Which operators the generated files hold, and what a builder method looks like where the schema alone does not say.
 * Adding an operator is adding its name here and running `npx tsx tools/ops/generate.ts`.
 */
export interface Recipe {
  /** Inputs of these names become options although they are required. */
  readonly options?: readonly string[]
  /** Names for parameters whose ONNX name would be unclear. */
  readonly rename?: Readonly<Record<string, string>>
  /** Inputs that take a plain number as well: a scalar of the type of the other operands. */
  readonly scalars?: readonly string[]
  /** Inputs of one element that must be a list of one. */
  readonly lists?: readonly string[]
  /** How many outputs the method returns: one (default), two, or as many as the caller says. */
  readonly outputs?: 1 | 2 | 'many'
  /** TypeScript types of arguments where the default does not fit. */
  readonly types?: Readonly<Record<string, string>>
}

const BINARY: Recipe = { scalars: ['A', 'B'] }
const RESIZE_MODES = `'nearest' | 'linear' | 'cubic'`

/** Operators with a builder method. */
export const BUILT: Readonly<Record<string, Recipe>> = {
  Abs: {},
  Add: BINARY,
  And: {},
  ArgMax: {},
  Cast: { types: { to: 'DType', round_mode: `'up' | 'down' | 'nearest'` } },
  CastLike: { types: { round_mode: `'up' | 'down' | 'nearest'` } },
  Ceil: {},
  Clip: { scalars: ['min', 'max'] },
  Concat: {},
  ConstantOfShape: { rename: { input: 'shape' } },
  Conv: { rename: { B: 'bias' } },
  Cos: {},
  CumSum: { options: ['axis'], scalars: ['axis'] },
  DequantizeLinear: { rename: { x_scale: 'scale', x_zero_point: 'zeroPoint' }, types: { output_dtype: 'DType' } },
  Div: BINARY,
  Equal: BINARY,
  Erf: {},
  Exp: {},
  Expand: {},
  Flatten: {},
  Floor: {},
  Gather: { types: { indices: 'Indices' } },
  GatherElements: {},
  GatherND: {},
  Gelu: { types: { approximate: `'none' | 'tanh'` } },
  Gemm: {},
  Greater: BINARY,
  GreaterOrEqual: BINARY,
  Identity: {},
  IsInf: {},
  IsNaN: {},
  LayerNormalization: { rename: { B: 'bias' } },
  Less: BINARY,
  LessOrEqual: BINARY,
  Log: {},
  MatMul: {},
  Max: { scalars: ['data_0'], rename: { data_0: 'values' } },
  MaxPool: {},
  Min: { scalars: ['data_0'], rename: { data_0: 'values' } },
  Mod: BINARY,
  Mul: BINARY,
  Neg: {},
  NonZero: {},
  Not: {},
  Or: {},
  Pad: { options: ['pads'], scalars: ['constant_value'], types: { mode: `'constant' | 'reflect' | 'edge' | 'wrap'` } },
  Pow: { scalars: ['X', 'Y'] },
  QuantizeLinear: {
    rename: { y_scale: 'scale', y_zero_point: 'zeroPoint' },
    types: { output_dtype: 'DType', precision: 'DType' },
  },
  Range: { scalars: ['start', 'limit', 'delta'] },
  Reciprocal: {},
  ReduceL2: {},
  ReduceMax: {},
  ReduceMean: {},
  ReduceMin: {},
  ReduceProd: {},
  ReduceSum: {},
  Relu: {},
  Reshape: {},
  Resize: { options: ['roi', 'scales'], types: { mode: RESIZE_MODES } },
  Round: {},
  ScatterND: { types: { reduction: `'none' | 'add' | 'mul' | 'max' | 'min'` } },
  Shape: {},
  Sigmoid: {},
  Sign: {},
  Sin: {},
  Size: {},
  Slice: { options: ['starts', 'ends'] },
  Softmax: {},
  Split: { outputs: 'many' },
  Sqrt: {},
  Squeeze: {},
  Sub: BINARY,
  Tanh: {},
  Tile: {},
  TopK: { options: ['K'], scalars: ['K'], lists: ['K'], outputs: 2 },
  Transpose: {},
  Trilu: { scalars: ['k'] },
  Unsqueeze: {},
  Where: { scalars: ['X', 'Y'] },
  Xor: {},
}

/** Operators that rules read and nothing builds: only their schema is kept. */
export const READ: readonly string[] = ['Attention', 'Constant', 'Dropout', 'Einsum', 'Swish']

/** The oldest opset whose models are read and written; older versions of an operator shape no builder method. */
export const OLDEST_OPSET = 9

/** Names that an argument had in older versions: operator, today's name, the older one. */
export const FORMER_NAMES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Pad: { constant_value: 'value' },
  TopK: { K: 'k' },
}
