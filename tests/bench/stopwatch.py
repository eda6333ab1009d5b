"""What a measured process reports of itself. Knows only the standard library: it runs in every environment."""

import json
import resource
import time
from pathlib import Path


class Stopwatch:
    """Wall and CPU seconds, those of threads and waited-for children included.

    Example:
        >>> watch = Stopwatch()
        >>> sorted(watch.stop(messages=10))
        ['cpu', 'messages', 'peak_mib', 'wall']
    """

    def __init__(self) -> None:
        self._cpu = _cpu_seconds()
        self._wall = time.perf_counter()

    def stop(self, **also: float) -> dict[str, float]:
        """Seconds since the start, the peak memory of the process so far in MiB, and what else there is to say."""
        wall, cpu = time.perf_counter() - self._wall, _cpu_seconds() - self._cpu
        return {"wall": wall, "cpu": cpu, "peak_mib": peak_mib(), **also}


def peak_mib() -> float:
    """The largest resident size this process ever had.

    ``VmHWM`` and not ``ru_maxrss``: the latter begins with the size of the process that forked this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def report(measured: dict[str, float]) -> None:
    """Print what was measured as the last line of the process."""
    print(json.dumps(measured), flush=True)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
