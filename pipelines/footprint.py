"""How much memory a bundle takes where it serves: measured in a process that does nothing but open it and answer."""

import subprocess
import sys

_MEBIBYTE_KIB = 1024
_PATIENCE_S = 60
_PROGRAM = """
import sys
import numpy as np
from serving.bundle import unpack
from serving.predictor import Predictor
predictor = Predictor(unpack(sys.stdin.buffer.read()))
predictor.predict(predictor.bundle.golden.rows)
try:
    # Not ru_maxrss: it counts what the parent held when this process was started.
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1))
"""


def peak_memory_mib(data: bytes) -> float:
    """Return the peak memory of a process that opens a bundle and answers its golden rows, interpreter included.

    Args:
        data: The bundle.

    Returns:
        Mebibytes, about 60 for an empty model; NaN when the process failed.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=data,
            capture_output=True,
            check=True,
            timeout=_PATIENCE_S,
        )
    except (subprocess.SubprocessError, OSError):
        return float("nan")
    return int(done.stdout) / _MEBIBYTE_KIB
