"""Create ``.venv`` with the locked dependencies, the compiled kernel and this project in editable form.

Runs with nothing but the standard library of Python 3.11+. pip only brings uv (hash-checked); uv installs the lock
file, ten times faster, and compiles bytecode, without which Airflow takes twice as long to start.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = ROOT / "infra"


def main() -> None:
    """Bring ``.venv`` up to date, step by step, and mark it ready at the end only."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells users of an older Python
        sys.exit(f"Tidemill needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.11 …")
    began = time.monotonic()
    _step("virtual environment", [sys.executable, "-m", "venv", str(VENV)])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    _step("installer", [*pip, "-r", str(LOCKS / "bootstrap.lock")])
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON)]
    _step("dependencies", [*uv, "--compile-bytecode", "--require-hashes", "-r", str(LOCKS / "requirements.lock")])
    _step("project and kernel", [*uv, "--no-build-isolation", "--no-deps", "-e", str(ROOT)])
    _report_kernel()
    (VENV / ".ready").touch()
    print(f"ready in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201 - set-up talks to people


def _step(name: str, command: list[str]) -> None:
    print(f"setting up: {name}", flush=True)  # noqa: T201
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        sys.exit(f"setting up {name} failed; the lines above say why. Mend it and run the same command again.")


def _report_kernel() -> None:
    probe = "import importlib.util as u; print(u.find_spec('features.kernel._pane') is not None)"
    answer = subprocess.run([str(PYTHON), "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.stdout.strip() != "True":
        print("note: no C compiler found, the slower numpy kernel will serve", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
