"""Resolve the dependencies anew into ``infra/*.lock``: hashes in, index addresses out."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"
COMPILE = ["pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--python-version", "3.11"]
OPTIONS = ["--no-header", "--no-annotate", "--upgrade", "--universal"]


def main() -> None:
    """Write the lock files: everything, the gateway's share of it, the installer, and the peers of the benchmarks."""
    _compile("requirements.lock", "pyproject.toml", "--all-extras")
    _compile("gateway.lock", "pyproject.toml", "--constraint", "infra/requirements.lock")
    _compile("bootstrap.lock", "infra/bootstrap.in")
    _compile("bench.lock", "infra/bench.in", "--constraint", "infra/requirements.lock")


def _compile(output: str, source: str, *options: str) -> None:
    subprocess.run([str(UV), *COMPILE, *OPTIONS, source, *options, "-o", f"infra/{output}"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
