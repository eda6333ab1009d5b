"""Two places for bundles on a gateway's disk, and one pointer that says which of them serves.

```
slots/<use case>/a/bundle.tmb     slots/<use case>/b/bundle.tmb     slots/<use case>/pointer.json
```
Laws, each of which holds at every moment a power cut may choose:

- the pointer names a slot whose bundle was written completely and fsynced before;
- ``stage`` never touches the slot the pointer serves from, nor the last good one while the new one is on probation;
- the last good bundle stays pinned until the new one has proven itself (``prove``), so ``fall_back`` always has it;
- what is read back is checked against the digest in the pointer: a damaged disk is told, not served.

Example:
    >>> import tempfile
    >>> slots = Slots(Path(tempfile.mkdtemp()))
    >>> facts = Installed("a", "1", 1, digest_of(b"bundle"), 0)
    >>> slots.commit(slots.stage(b"bundle", facts))
    >>> slots.serving.version, slots.read(slots.serving)
    ('1', b'bundle')
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from serving.bundle import digest_of
from serving.gateway.errors import DamagedSlotError
from serving.gateway.state import failing_loudly, write_durably

NAMES = ("a", "b")
POINTER = "pointer.json"
BUNDLE = "bundle.tmb"


@dataclass(frozen=True, slots=True)
class Installed:
    """What lies in a slot.

    Attributes:
        slot: ``a`` or ``b``.
        version: The version of the release.
        number: The release's number.
        bundle: Digest of the bundle.
        released_at_us: When it was released, UTC microseconds.
    """

    slot: str
    version: str
    number: int
    bundle: str
    released_at_us: int


@dataclass(frozen=True, slots=True)
class _Pointer:
    serving: Installed | None = None
    good: Installed | None = None  # set while `serving` is on probation and there is something to fall back to
    proven: bool = True
    starts: int = 0  # how often the program began with `serving` unproven
    refused: Installed | None = None  # what failed while it served


class Slots:
    """The slots of one use case.

    Args:
        folder: Where they live; made when missing.

    Raises:
        DamagedSlotError: The pointer cannot be read.
        StateFolderError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with failing_loudly(folder):
            for name in NAMES:
                (folder / name).mkdir(parents=True, exist_ok=True)
        self._pointer = self._read_pointer()

    @property
    def serving(self) -> Installed | None:
        """What the pointer serves from; None before the first release and after a withdrawal."""
        return self._pointer.serving

    @property
    def proven(self) -> bool:
        """Whether the serving bundle has proven itself."""
        return self._pointer.proven

    @property
    def refused(self) -> Installed | None:
        """What failed while it served, and must not be taken again unless a newer release names it."""
        return self._pointer.refused

    def read(self, installed: Installed) -> bytes:
        """The bundle in a slot.

        Raises:
            DamagedSlotError: It is missing or not what was put there.
        """
        path = self.path(installed.slot)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedSlotError("a slot cannot be read", where=str(path), why=str(error)) from error
        if (found := digest_of(data)) != installed.bundle:
            raise DamagedSlotError("a slot is damaged", where=str(path), why=f"{found}, expected {installed.bundle}")
        return data

    def path(self, slot: str) -> Path:
        """The file of a slot's bundle."""
        return self._folder / slot / BUNDLE

    def stage(self, data: bytes, release: Installed) -> Installed:
        """Write a bundle to the slot that is free, durably; the pointer stays.

        While the serving bundle is on probation the free slot is its own: the pointer goes back to the last good one
        first, and what runs in memory goes on running.

        Args:
            data: The bundle.
            release: Its facts; the slot in them is chosen here.

        Returns:
            The facts with the slot it went to.
        """
        if self._pointer.good is not None:
            self._point(_Pointer(self._pointer.good, refused=self.refused))
        taken = self._pointer.serving.slot if self._pointer.serving else "b"
        slot = NAMES[1 - NAMES.index(taken)]
        write_durably(self.path(slot), data)
        return dataclasses.replace(release, slot=slot)

    def commit(self, staged: Installed) -> None:
        """Serve from a staged slot, on probation; what served until now is pinned."""
        self._point(_Pointer(staged, self._pointer.serving, proven=False, refused=self.refused))

    def relabel(self, release: Installed) -> None:
        """Note another release of the very bundle that serves already."""
        serving = self._pointer.serving
        if serving is not None and serving.bundle == release.bundle:
            self._point(dataclasses.replace(self._pointer, serving=dataclasses.replace(release, slot=serving.slot)))

    def prove(self, installed: Installed) -> None:
        """``installed`` works: if it is what the pointer serves, what was before it is unpinned."""
        if not self._pointer.proven and self._pointer.serving == installed:
            self._point(_Pointer(installed, refused=self.refused))

    def began(self) -> int:
        """Note a start of the program; how many starts the serving bundle has now been unproven for."""
        if not self._pointer.proven:
            self._point(dataclasses.replace(self._pointer, starts=self._pointer.starts + 1))
        return self._pointer.starts

    def fall_back(self, failed: Installed, *, refuse: bool = True) -> Installed | None:
        """Serve the last good bundle again, because ``failed`` did not work.

        Args:
            failed: What did not work.
            refuse: Whether it is its own fault, so that it must not be taken again.

        Returns:
            What the pointer serves now; None when there is nothing to go back to.
        """
        back = self._pointer.good if self._pointer.serving == failed else self._pointer.serving
        self._point(_Pointer(back, refused=failed if refuse else self.refused))
        return back

    def withdraw(self) -> None:
        """Serve nothing."""
        self._point(_Pointer(refused=self.refused))

    def _point(self, pointer: _Pointer) -> None:
        document = json.dumps(dataclasses.asdict(pointer), indent=1)
        write_durably(self._folder / POINTER, document.encode())
        self._pointer = pointer

    def _read_pointer(self) -> _Pointer:
        path = self._folder / POINTER
        try:
            document = json.loads(path.read_bytes())
            serving, good, refused = (
                Installed(**document[name]) if document[name] else None for name in ("serving", "good", "refused")
            )
            return _Pointer(serving, good, bool(document["proven"]), int(document["starts"]), refused)
        except FileNotFoundError:
            return _Pointer()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedSlotError(
                "the pointer to the serving slot cannot be read",
                where=str(path),
                why=f"{type(error).__name__}: {error}",
                fix=f"remove {path}; the gateway then takes the current release anew",
            ) from error
