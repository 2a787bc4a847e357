"""Generates the stubs beside their .proto: `python -m gpuwarden.proto.generate`. Needs the dev extra, in a checkout."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path


def generate(out_dir: Path, import_root: Path = Path(".lib")) -> None:
    """Writes the stubs of every .proto under `import_root`/gpuwarden/proto into `out_dir`/gpuwarden/proto."""
    sources = sorted((import_root / "gpuwarden" / "proto").glob("*.proto"))
    outputs = [f"--{kind}_out={mode}{out_dir}" for kind, mode in
               (("python", ""), ("grpc_python", ""), ("mypy", "quiet:"), ("mypy_grpc", "quiet:"))]
    plugins = sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{import_root}", *outputs, *map(str, sources)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": plugins})
    _drop_empty_services(out_dir / "gpuwarden" / "proto", sources)


def _drop_empty_services(folder: Path, sources: Iterable[Path]) -> None:
    """protoc writes service stubs for messages-only files too; those would be dead code."""
    for source in sources:
        if "\nservice " not in source.read_text():
            for suffix in ("_pb2_grpc.py", "_pb2_grpc.pyi"):
                (folder / (source.stem + suffix)).unlink(missing_ok=True)


if __name__ == "__main__":
    generate(Path(".lib"))
    sys.stdout.write("generated\n")
