"""The first run of a new bundle, in a child process that may die of it.

A model file is a program from elsewhere. Before it may serve, a child opens it, loads it and runs its golden rows, with
little more memory and processor time than a sound model needs; it also makes sure that the gateway can read what the
fleet's devices send. The parent watches the clock on the wall. Whatever goes
wrong there, down to a crash of the runtime, costs the gateway nothing but a line in its journal.

``python -m serving.gateway.trial <bundle file> <digest> <MiB> <seconds>`` prints one JSON object and exits with 0 or 1.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from features.errors import TidemillError
from serving.bundle import unpack
from serving.gateway import records
from serving.gateway.errors import TrialFailedError
from serving.predictor import Predictor

MIB = 1024 * 1024
_POLL_S = 0.1
_NICE = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What a trial may use.

    Attributes:
        memory_mib: Address space on top of what the program takes before the model is loaded.
        seconds: Processor time; on the wall it may take three times as long, because the machine has other work.
    """

    memory_mib: int = 256
    seconds: int = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a passed trial found.

    Attributes:
        golden: How many golden rows gave their scores.
        memory_mib: Resident memory at its peak, the program included.
        seconds: Processor time used, the start of the program included.
    """

    golden: int
    memory_mib: float
    seconds: float


def try_bundle(path: Path, digest: str, limits: Limits, stopping: threading.Event) -> Verdict:
    """Run a trial and wait for it.

    Args:
        path: The bundle's file.
        digest: Its digest.
        limits: What it may use.
        stopping: Set when the gateway stops: the trial is given up.

    Raises:
        TrialFailedError: The bundle did not pass; the message says how.
    """
    command = [sys.executable, "-P", "-m", "serving.gateway.trial"]
    command += [str(path), digest, str(limits.memory_mib), str(limits.seconds)]
    deadline = time.monotonic() + 3 * limits.seconds
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        while True:
            try:
                output, _ = child.communicate(timeout=_POLL_S)
                break
            except subprocess.TimeoutExpired:
                if stopping.is_set() or time.monotonic() > deadline:
                    child.kill()
    return _judge(output, child.returncode, digest, limits)


def _judge(output: bytes, status: int, digest: str, limits: Limits) -> Verdict:
    try:
        said = json.loads(output)
        if status == 0:
            return Verdict(**said)
        why = f"{said['code']} {said['message']}"
    except (ValueError, TypeError, KeyError):
        why = _death(status, limits)
    raise TrialFailedError("a bundle failed its trial", where=digest, why=why)


def _death(status: int, limits: Limits) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it used more than {limits.seconds} s of processor time, or three times that on the wall"
    if status < 0:
        return f"it crashed with {signal.Signals(-status).name}, as running out of {limits.memory_mib} MiB can do"
    return f"it ended with status {status} and said nothing"


def main() -> None:
    """The child."""
    path, digest, memory_mib, seconds = sys.argv[1:]
    os.nice(_NICE)
    _limit(int(memory_mib), int(seconds))
    try:
        verdict = _run(Path(path), digest)
    except TidemillError as error:
        _answer({"code": error.code, "message": str(error)}, 1)
    except MemoryError:
        _answer({"code": TrialFailedError.code, "message": f"it needs more than {memory_mib} MiB"}, 1)
    _answer(asdict(verdict), 0)


def _limit(memory_mib: int, seconds: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    space = pages * resource.getpagesize() + memory_mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(path: Path, digest: str) -> Verdict:
    predictor = Predictor(unpack(path.read_bytes(), digest))
    records.check(predictor.bundle.manifest.features.fleet)
    predictor.check_golden()
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = round(used.ru_utime + used.ru_stime, 3)
    return Verdict(len(predictor.bundle.golden.scores), _peak_mib(), seconds)


def _peak_mib() -> float:
    """Peak of this program alone: ``ru_maxrss`` would begin with what the parent had when it started the child."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(kibibytes) / 1024, 1)


def _answer(document: object, status: int) -> None:
    sys.stdout.write(json.dumps(document))
    sys.stdout.flush()
    os._exit(status)  # the runtime's own shutdown is nothing to wait for


if __name__ == "__main__":
    main()
