"""Rebuild the descriptor set of ABCI 2.0 from CometBFT's Go module; needs Go, and the `cluster` extra.

CometBFT's generated Go code carries the compiled descriptor of each proto file. They are taken from there: no protoc.
gogoproto options only steer Go's code generator; they go, and with them the one import that Python could not resolve.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2, duration_pb2, timestamp_pb2

MODULE: Final = "github.com/cometbft/cometbft@v0.38.25"
TARGET: Final = Path(__file__).parent.parent / "src/keephold/ledger/engines/cometbft/abci.binpb"
SOURCES: Final = (
    "proto/tendermint/crypto/keys.pb.go",
    "proto/tendermint/crypto/proof.pb.go",
    "proto/tendermint/types/params.pb.go",
    "proto/tendermint/types/validator.pb.go",
    "abci/types/types.pb.go",
)
"""In the order of their imports."""

_GZIPPED: Final = re.compile(r"^var fileDescriptor_\w+ = \[\]byte\{(.*?)^\}", re.DOTALL | re.MULTILINE)


def compiled(source: str) -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor inside a generated Go file, without gogoproto."""
    found = _GZIPPED.search(source)
    if found is None:
        raise SystemExit("no descriptor in this file")
    packed = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})", found[1]))
    file = descriptor_pb2.FileDescriptorProto.FromString(gzip.decompress(packed))
    dependencies = [name for name in file.dependency if not name.startswith("gogoproto/")]
    del file.dependency[:]
    file.dependency.extend(dependencies)
    file.ClearField("options")
    file.ClearField("service")
    for message in file.message_type:
        strip(message)
    for enum in file.enum_type:
        strip_enum(enum)
    return file


def strip(message: descriptor_pb2.DescriptorProto) -> None:
    """Remove all options of a message, its fields and what is nested in it."""
    message.ClearField("options")
    for field in message.field:
        field.ClearField("options")
        field.ClearField("json_name")
    for oneof in message.oneof_decl:
        oneof.ClearField("options")
    for nested in message.nested_type:
        strip(nested)
    for enum in message.enum_type:
        strip_enum(enum)


def strip_enum(enum: descriptor_pb2.EnumDescriptorProto) -> None:
    """Remove all options of an enumeration."""
    enum.ClearField("options")
    for value in enum.value:
        value.ClearField("options")


def main() -> None:
    """Fetch the module, and write the set."""
    told = subprocess.run(["go", "mod", "download", "-json", MODULE], capture_output=True, check=True)
    root = Path(json.loads(told.stdout)["Dir"])
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for module in (timestamp_pb2, duration_pb2)
    ]
    files += [compiled((root / source).read_text()) for source in SOURCES]
    TARGET.write_bytes(descriptor_pb2.FileDescriptorSet(file=files).SerializeToString(deterministic=True))
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
