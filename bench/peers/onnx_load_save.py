"""Loads a model with Python's onnx and saves it: what the speed and memory of `vitpass run` are compared with.

    python bench/peers/onnx_load_save.py MODEL.onnx OUT.onnx

Weights that lie in other files are loaded too and go into OUT.onnx.data. Prints nothing.
"""

import sys
from pathlib import Path

import onnx
from onnx.external_data_helper import load_external_data_for_model, uses_external_data


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: onnx_load_save.py MODEL.onnx OUT.onnx")
    source, target = map(Path, sys.argv[1:])
    model = onnx.load(source, load_external_data=False)
    external = any(uses_external_data(tensor) for tensor in model.graph.initializer)
    if external:
        load_external_data_for_model(model, str(source.parent))
        target.with_name(f"{target.name}.data").unlink(missing_ok=True)
    onnx.save(model, target, save_as_external_data=external, location=f"{target.name}.data")


if __name__ == "__main__":
    main()
