/** Operators of ai.onnx that turn each element of one tensor into another, whatever stands beside it. */
export const ACTIVATIONS: readonly string[] = [
  ...['Relu', 'LeakyRelu', 'Elu', 'Selu', 'Celu', 'HardSigmoid', 'HardSwish', 'Mish', 'Softplus', 'Softsign'],
  ...['ThresholdedRelu', 'Sigmoid', 'Tanh', 'Erf', 'Exp', 'Log', 'Sin', 'Cos', 'Tan', 'Gelu', 'Swish', 'Clip'],
]
