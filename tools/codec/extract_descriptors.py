"""Writes the message and field facts of the ONNX format to onnx-descriptors.generated.json, which generate.ts reads.

Names, numbers, labels and types only; no documentation text. One message a line, so that a new onnx release shows as
changed lines.

    python -m venv venv && venv/bin/pip install onnx==1.23.2
    venv/bin/python tools/codec/extract_descriptors.py [--check]
"""

import json
import sys
from pathlib import Path

import onnx
from google.protobuf import descriptor_pb2
from onnx import onnx_ml_pb2

PINNED = "1.23.2"
TARGET = Path(__file__).with_name("onnx-descriptors.generated.json")
FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    FIELD.TYPE_DOUBLE: "double",
    FIELD.TYPE_FLOAT: "float",
    FIELD.TYPE_INT32: "int32",
    FIELD.TYPE_INT64: "int64",
    FIELD.TYPE_UINT64: "uint64",
    FIELD.TYPE_STRING: "string",
    FIELD.TYPE_BYTES: "bytes",
}
LABELS = {FIELD.LABEL_OPTIONAL: "optional", FIELD.LABEL_REPEATED: "repeated", FIELD.LABEL_REQUIRED: "required"}


def field_facts(field) -> list:
    """[name, number, label, type]; a message or enum type is its dotted name, an enum's with `enum ` in front."""
    name = field.type_name.removeprefix(".onnx.")
    kind = {FIELD.TYPE_MESSAGE: name, FIELD.TYPE_ENUM: f"enum {name}"}.get(field.type) or SCALARS[field.type]
    packed = ["packed"] if field.options.packed else []
    return [field.name, field.number, LABELS[field.label], kind, *packed]


def message_facts(message, prefix: str = "") -> dict:
    name = prefix + message.name
    facts = {name: [field_facts(field) for field in sorted(message.field, key=lambda field: field.number)]}
    for nested in message.nested_type:
        facts |= message_facts(nested, f"{name}.")
    return facts


def enum_facts(holder, prefix: str = "") -> dict:
    facts = {prefix + enum.name: {value.name: value.number for value in enum.value} for enum in holder.enum_type}
    for nested in getattr(holder, "message_type", None) or getattr(holder, "nested_type", []):
        facts |= enum_facts(nested, f"{prefix}{nested.name}.")
    return facts


def main() -> int:
    if onnx.__version__ != PINNED:
        print(f"onnx {PINNED} is pinned, and {onnx.__version__} is installed", file=sys.stderr)
        return 1
    file = descriptor_pb2.FileDescriptorProto()
    onnx_ml_pb2.DESCRIPTOR.CopyToProto(file)
    messages: dict = {}
    for message in file.message_type:
        messages |= message_facts(message)
    lines = [f'{{"onnx":"{PINNED}","messages":{{']
    lines += [",\n".join(f"{json.dumps(name)}:{json.dumps(fields)}" for name, fields in sorted(messages.items()))]
    lines += ['},"enums":{']
    lines += [",\n".join(f"{json.dumps(name)}:{json.dumps(values)}" for name, values in sorted(enum_facts(file).items()))]
    text = "\n".join([*lines, "}}", ""])
    if "--check" in sys.argv:
        fresh = TARGET.exists() and TARGET.read_text() == text
        print("descriptors are fresh" if fresh else f"{TARGET.name} is stale; run this script without --check")
        return 0 if fresh else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
