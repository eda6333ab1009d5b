"""Resolve the dependencies anew into ``infra/*.lock``: hashes in, index addresses out."""

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"
COMPILE = ["pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--python-version", "3.11"]
_BESIDE = {"kubernetes", "spark", "torch", "tensorflow"}  # installed by those who want them, on top of everything else
OPTIONS = ["--no-header", "--no-annotate", "--upgrade", "--universal"]


def main() -> None:
    """Write the lock files: everything that one environment holds, shares of it, what comes on top, the installer."""
    beside = ("--constraint", "infra/requirements.lock")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    most = [f"--extra={name}" for name in extras if name not in _BESIDE]
    _compile("requirements.lock", "pyproject.toml", *most)
    _compile("gateway.lock", "pyproject.toml", *beside)
    _compile("spark.lock", "pyproject.toml", "--extra=spark", *beside)
    _compile("torch.lock", "infra/torch.in", *beside)
    _compile("bootstrap.lock", "infra/bootstrap.in")
    _compile("bench.lock", "infra/bench.in", *beside)


def _compile(output: str, source: str, *options: str) -> None:
    subprocess.run([str(UV), *COMPILE, *OPTIONS, source, *options, "-o", f"infra/{output}"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
