"""Writes the facts of every ai.onnx operator version to onnx-schemas.json, which generate.ts reads.

Names, kinds, types, defaults and versions only; no documentation text. One operator version a line, so that a new
onnx release shows as added lines.

    python -m venv venv && venv/bin/pip install onnx==1.23.2
    venv/bin/python tools/ops/extract_schemas.py [--check]
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import defs, numpy_helper

PINNED = "1.23.2"
TARGET = Path(__file__).with_name("onnx-schemas.json")
UNBOUNDED = 2**31 - 1


def short_float(value: float) -> float:
    """The shortest decimal that is the same float32: 1e-05 rather than 9.999999747378752e-06."""
    with np.errstate(over="ignore"):
        for digits in range(1, 9):
            short = float(f"{value:.{digits}g}")
            if np.float32(short) == np.float32(value):
                return short
    return value


def type_name(text: str) -> str:
    """`tensor(float)` is written `float`; sequences, maps and optionals keep their spelling."""
    return text[len("tensor(") : -1] if text.startswith("tensor(") else text


def parameter(formal) -> list:
    kind = {0: "single", 1: "optional", 2: "variadic"}[int(formal.option.value)]
    entry = [formal.name, kind, type_name(formal.type_str)]
    if kind == "variadic":
        entry += [formal.is_homogeneous, formal.min_arity]
    return entry


def default_value(proto):
    kind = onnx.AttributeProto.AttributeType.Name(proto.type)
    if kind == "INT":
        return proto.i
    if kind == "FLOAT":
        return short_float(proto.f)
    if kind == "STRING":
        return proto.s.decode()
    if kind == "INTS":
        return list(proto.ints)
    if kind == "FLOATS":
        return [short_float(value) for value in proto.floats]
    if kind == "STRINGS":
        return [value.decode() for value in proto.strings]
    if kind == "TENSOR":
        return numpy_helper.to_array(proto.t).tolist()
    raise ValueError(f"default of kind {kind}")


def attribute(formal) -> dict:
    entry = {"type": formal.type.name.lower()}
    if formal.required:
        entry["required"] = True
    if formal.default_value.type != onnx.AttributeProto.UNDEFINED:
        entry["default"] = default_value(formal.default_value)
    return entry


def operator(schema) -> dict:
    entry = {"op": schema.name, "since": schema.since_version}
    if schema.deprecated:
        entry["deprecated"] = True
    entry["in"] = [parameter(formal) for formal in schema.inputs]
    entry["out"] = [parameter(formal) for formal in schema.outputs]
    entry["min_in"] = schema.min_input
    entry["max_in"] = None if schema.max_input == UNBOUNDED else schema.max_input
    entry["min_out"] = schema.min_output
    entry["max_out"] = None if schema.max_output == UNBOUNDED else schema.max_output
    entry["attributes"] = {name: attribute(formal) for name, formal in sorted(schema.attributes.items())}
    entry["types"] = {
        constraint.type_param_str: sorted(type_name(text) for text in constraint.allowed_type_strs)
        for constraint in schema.type_constraints
    }
    return entry


def document() -> str:
    schemas = [schema for schema in defs.get_all_schemas_with_history() if schema.domain == ""]
    schemas.sort(key=lambda schema: (schema.name, schema.since_version))
    lines = ",\n".join(json.dumps(operator(schema), separators=(",", ":")) for schema in schemas)
    head = json.dumps({"onnx": onnx.__version__, "newestOpset": defs.onnx_opset_version()}, separators=(",", ":"))
    return f'{head[:-1]},"operators":[\n{lines}\n]}}\n'


def main() -> int:
    if onnx.__version__ != PINNED:
        print(f"onnx {onnx.__version__} is installed; this repository pins {PINNED}", file=sys.stderr)
        return 2
    text = document()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text() == text:
            return 0
        print(f"{TARGET} differs from onnx {PINNED}; run {sys.argv[0]}", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
