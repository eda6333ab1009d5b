"""What a training ran with: versions of Python and of the libraries that decide on the bytes of a model."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

DECIDING = ("numpy", "scikit-learn", "onnx", "onnxruntime", "skl2onnx", "optuna", "pyarrow", "deltalake")
EXTRA = ("torch", "tensorflow", "keras")
"""Named where they are installed."""


def environment(packages: Sequence[str] = (*DECIDING, *EXTRA)) -> str:
    """Return the versions as one line, those that are not installed left out.

    Example:
        >>> environment(["no-such-package"]).split()[0]
        'python'
    """
    found = [f"python {platform.python_version()}", f"{platform.system().lower()} {platform.machine()}"]
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
