"""Writes the descriptors of every message file in the published Python package as one FileDescriptorSet."""

import importlib
import pathlib
import sys

packages = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(packages))

from google.protobuf import descriptor_pb2  # noqa: E402

files = descriptor_pb2.FileDescriptorSet()
for path in sorted(packages.glob("fabric_protos/**/*_pb2.py")):
    module = importlib.import_module(".".join(path.relative_to(packages).with_suffix("").parts))
    module.DESCRIPTOR.CopyToProto(files.file.add())
sys.stdout.buffer.write(files.SerializeToString())
