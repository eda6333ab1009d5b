"""A disk that is full, read-only or refuses: a clear error, nothing half-written, and all is well once it is mended."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.fleets import MINUTE_US, NOON_US, Plant, reading
from tests.sweep import ingesters

_NOBODY = 65_534
_OBJECTS = 12
_ROOM_KIB = 16
_CLOSED = (
    "ledger/objects/fans",
    "quarantine/fans",
    "lake/fans/telemetry/_delta_log",
    "lake/fans/telemetry/date=2025-11-24",
)


def run(steps: int) -> list[str]:
    """Try each fault, the full disk at so many places; what was seen, a line each."""
    return [fault(steps) for fault in FAULTS]


def _full(steps: int) -> str:
    """A small file system that has a little more room each time."""
    with _folder() as root:
        if not _mounted(root, "size=4M"):
            return "disk full: not tried, because only root may mount"
        try:
            _fill(root)
            used = _used_kib(root)
            errors = 0
            for step in range(1, steps + 1):
                _mount(root, f"remount,size={used + _ROOM_KIB * step}k")
                error = _failing(root, _take_in)
                errors += error is not None
                ingesters.nothing_half_written(root)
                _mount(root, "remount,size=16M")
                if error is None:
                    break
                used = _used_kib(root)
                _mended(root) if step % 3 == 0 else None
                used = _used_kib(root)
            _mended(root)
        finally:
            subprocess.run(["umount", str(root)], check=True)
    assert errors
    return f"disk full: {errors} clear errors, nothing half-written, mended by the next run"


def _too_large(steps: int) -> str:
    """No file may be larger than so many bytes, which is a full disk for whoever writes one."""
    errors = 0
    for step in range(1, steps + 1):
        with _folder() as root:
            _fill(root)
            errors += _failing(root, _Limited(step * 700)) is not None
            ingesters.nothing_half_written(root)
            _mended(root)
    assert errors
    return f"file size limit: {errors} clear errors, nothing half-written, mended by the next run"


def _read_only(_steps: int) -> str:
    with _folder() as root:
        if not _mounted(root, "size=4M"):
            return "read-only: not tried, because only root may mount"
        try:
            _fill(root)
            _mount(root, "remount,ro")
            error = _failing(root, _take_in)
            assert error is not None
            assert "ead-only" in error[1], error
            _mount(root, "remount,rw")
            _mended(root)
        finally:
            subprocess.run(["umount", str(root)], check=True)
    return "read-only: a clear error, mended by the next run"


def _denied(_steps: int) -> str:
    """Folders that the ingest may not write to, one after the other; root sends a child that is nobody."""
    refused = 0
    for name in _CLOSED:
        with _folder() as root:
            _fill(root)
            _own(root)
            assert _failing(root, _as_nobody) is None
            _fill(root, begin=_OBJECTS)
            _own(root)
            closed = root / name
            closed.chmod(0o555)
            error = _failing(root, _as_nobody)
            assert error is not None
            assert "ermission denied" in error[1], error
            refused += 1
            ingesters.nothing_half_written(root)
            closed.chmod(0o755)
            assert _failing(root, _as_nobody) is None
            _require_all(root, 2 * _OBJECTS)
    return f"permission denied: {refused} clear errors, nothing half-written, mended by the next run"


def _fill(root: Path, begin: int = 0) -> None:
    plant = Plant(root)
    for number in range(begin, begin + _OBJECTS):
        time = NOON_US + number * 10 * MINUTE_US
        messages = [
            reading(device, time + n * MINUTE_US, n, time + 10 * MINUTE_US) for device in "abc" for n in range(10)
        ]
        plant.write([*messages, reading("d", time, -1.0)], name=f"hub-{number:03d}")


def _take_in(root: Path) -> None:
    ingesters.take_in(root, 3)


def _as_nobody(root: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    _take_in(root)


class _Limited:
    """An ingest whose files may have so many bytes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, root: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._size))
        _take_in(root)


def _failing(root: Path, work: Callable[[Path], None]) -> tuple[str, str] | None:
    """The error of some work in a process of its own: code and sentence; None where it went well."""
    receiver, sender = ingesters.pipe()
    assert ingesters.end(ingesters.start(ingesters.report, root, sender, work)) == 0, "an error that is not ours"
    found: tuple[str, str] | None = receiver.recv()
    return found


def _mended(root: Path) -> None:
    assert _failing(root, _take_in) is None
    _require_all(root, _OBJECTS)


def _require_all(root: Path, objects: int) -> None:
    assert len(ingesters.nothing_half_written(root)) == objects * 30
    assert len(ingesters.quarantined(root)) == objects


@contextmanager
def _folder() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="tidemill-disks-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _own(root: Path) -> None:
    if os.geteuid() == 0:
        for path in [root, *root.rglob("*")]:
            os.chown(path, _NOBODY, _NOBODY)


def _mounted(root: Path, options: str) -> bool:
    if os.geteuid() or not shutil.which("mount"):
        return False
    command = ["mount", "-t", "tmpfs", "-o", options, "tidemill", str(root)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _mount(root: Path, options: str) -> None:
    subprocess.run(["mount", "-o", options, str(root)], check=True)


def _used_kib(root: Path) -> int:
    usage = shutil.disk_usage(root)
    return (usage.used + 1023) // 1024


FAULTS: Sequence[Callable[[int], str]] = (_full, _too_large, _read_only, _denied)
