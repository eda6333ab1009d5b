"""Build a gateway's own environment: the locked base dependencies, this project, and nothing a gateway never opens.

``python infra/gateway_environment.py FOLDER`` makes a virtual environment without pip, installs ``infra/gateway.lock``
(hash-checked) and Tidemill, removes files of the wheels that no gateway process opens, and prints the weight.

Why so: the wheels of numpy and ONNX Runtime carry test suites, a Fortran compiler's front end, model-conversion tools
and, beside the Python extension, a second complete copy of the runtime for C++ programs. Together they are a third of
the weight, on devices whose flash is counted. Cost: whoever wants those tools on a gateway installs the wheels whole.
The program starts without docstrings (``python -OO``), which takes 3 MiB less memory; nothing here relies on asserts.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEVER_OPENED = (
    "numpy/**/tests",
    "numpy/f2py",
    "numpy/typing/tests",
    "onnxruntime/transformers",
    "onnxruntime/tools",
    "onnxruntime/quantization",
    "onnxruntime/datasets",
    "onnxruntime/capi/libonnxruntime.so.*",
)


def build(folder: Path) -> int:
    """Build the environment and return its weight in bytes, as the sum of its files' sizes."""
    folder = folder.resolve()
    venv.create(folder, with_pip=False, clear=True, symlinks=True)
    python = folder / "bin" / "python"
    install = [str(ROOT / ".venv" / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*install, "--require-hashes", "-r", str(ROOT / "infra" / "gateway.lock")], check=True)
    subprocess.run([*install, "--no-deps", str(ROOT)], check=True)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    for pattern in NEVER_OPENED:
        for path in sorted(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    script = folder / "bin" / "tidemill-gateway"
    script.write_text(script.read_text().replace(f"#!{python}", f"#!{python} -OO", 1))
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program's name and the folder
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    print(f"{sys.argv[1]}: {build(Path(sys.argv[1])) / 1e6:.0f} MB")  # noqa: T201 - the answer of a command
