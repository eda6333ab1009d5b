"""What the Fleet page shows: wanted, released and reported, side by side, from the object storage alone.

A view reads the store at most once in a few seconds, however many people look, and never makes them wait long: whoever
comes while it reads gets what was read before, or the releases without the counts. Each part says as of when it is.

Why so: *read when somebody looks*, not all the time: a page that nobody has open costs nothing. *A thread for each
reading*, since ten thousand reports take longer than a page may.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from features.errors import TidemillError
from serving import evidence
from serving.attention import Attention, attention
from serving.errors import LedgerError, MissingObjectError
from serving.evidence import Challenger, Monitoring, Retraining
from serving.muster import Muster, Paces, Seen, count, look
from serving.promotion import FOLDER as LEDGER
from serving.promotion import Promotion, PromotionLedger, key_part, usecases
from serving.published import read_releases
from serving.release import Release
from serving.reports import FOLDER, Report, ReportReader
from serving.status import FOLDER as STATUS
from serving.status import read_status, status_key
from serving.store import Store

FRESH_US = 5_000_000
SHARE = 10
"""What was read stays fresh for this many times as long as reading took: large fleets are read less often."""
FIRST_S = 10.0
MOST_HISTORY = 50
_SERVED = ("released", "rolled_back")


@dataclass(frozen=True, slots=True)
class Told:
    """What the last release run found (`serving.status`), and when it said so; 0 for never."""

    at_us: int = 0
    fields: Mapping[str, object] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """One of its fields as text; empty where there is none."""
        return str(self.fields.get(name) or "")


@dataclass(frozen=True, slots=True)
class Overview:
    """A use case.

    Attributes:
        usecase: Its name.
        told: What the last release run found: the version that is wanted, and what it waits for.
        release: What is published; None for nothing yet.
        served: Versions that served before, and may again, the last one first.
        history: The ledger, newest entry first.
        ledger_problem: Why the ledger cannot be believed; empty when it can.
        monitoring: The latest look at the predictions.
        retraining: The latest decision to train anew.
        challenger: The latest comparison with a challenger.
        read_us: When all this was read, UTC microseconds.
        seen: The gateways; empty while they are being counted.
        muster: Their numbers; None while they are being counted.
        attention: What needs attention.
        counted_us: When the gateways were counted; 0 for not yet.
    """

    usecase: str
    told: Told
    release: Release | None
    served: tuple[str, ...]
    history: tuple[Promotion, ...]
    ledger_problem: str
    monitoring: Monitoring | None
    retraining: Retraining | None
    challenger: Challenger | None
    read_us: int
    seen: Sequence[Seen] = ()
    muster: Muster | None = None
    attention: tuple[Attention, ...] = ()
    counted_us: int = 0

    @property
    def spreading(self) -> bool:
        """Whether a rollout is under way."""
        return self.release is not None and not self.release.complete


@dataclass(frozen=True, slots=True)
class Fleet:
    """All use cases, as of one moment.

    Attributes:
        overviews: By name.
        unreadable: Gateways whose report cannot be read, so that nobody knows their use case.
        problem: Why the store could not be read; empty for read.
        read_us: When it was read, UTC microseconds.
        counted: Whether the gateways are counted.
    """

    overviews: Mapping[str, Overview]
    unreadable: tuple[Seen, ...] = ()
    problem: str = ""
    read_us: int = 0
    counted: bool = False


class FleetView:
    """The store as the page shows it; shared by all who look.

    Args:
        store: Where everything lies.
        clock: Tells the time, UTC microseconds.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._reader = ReportReader(store)
        self._paces = Paces()
        self._ledgers: dict[str, tuple[tuple[str, ...], tuple[Promotion, ...]]] = {}
        self._change = threading.Condition()
        self._fleet: Fleet | None = None
        self._reading = False
        self._fresh_us = FRESH_US

    def fleet(self, patience_s: float) -> Fleet:
        """Return what is known, and have it read anew where it is old.

        Args:
            patience_s: How long to wait for what is being read. After that what was read before is returned, or the use
                cases without counts; for those it waits up to ``FIRST_S``.
        """
        with self._change:
            if not self._reading and (self._fleet is None or self._clock() - self._fleet.read_us > self._fresh_us):
                self._reading = True
                threading.Thread(target=self._read, name="fleet", daemon=True).start()
            self._change.wait_for(lambda: not self._reading, patience_s)
            self._change.wait_for(lambda: self._fleet is not None, FIRST_S)
            return self._fleet or Fleet({})

    def report(self, fleet: str, gateway: str, usecase: str) -> tuple[str, Mapping[str, object]]:
        """Return the last report of a gateway as it wrote it, and its key.

        Raises:
            MissingObjectError: There is none.
        """
        for name in (gateway, f"{gateway}.{usecase}"):
            key = f"{FOLDER}{fleet}/{name}.json"
            try:
                found = json.loads(self._store.get(key))
            except MissingObjectError:
                continue
            except ValueError:
                return key, {}
            if not isinstance(found, dict) or found.get("usecase", usecase) == usecase:
                return key, found if isinstance(found, dict) else {}
        raise MissingObjectError("there is no report of this gateway", where=f"{FOLDER}{fleet}/{gateway}.json")

    def _read(self) -> None:
        began_us = self._clock()
        try:
            fleet = self._whole()
        except TidemillError as error:
            fleet = self._kept(str(error))
        except Exception as error:  # noqa: BLE001 - a thread can raise to nobody; the page says it
            fleet = self._kept(f"{type(error).__name__}: {error}")
        with self._change:
            self._fleet = fleet
            self._reading = False
            self._fresh_us = max(FRESH_US, SHARE * (self._clock() - began_us))
            self._change.notify_all()

    def _kept(self, problem: str) -> Fleet:
        """What was known before, with the reason why it is old."""
        return replace(self._fleet or Fleet({}), problem=problem, read_us=self._clock())

    def _whole(self) -> Fleet:
        """Read everything; the small files are told as soon as they are read."""
        now_us = self._clock()
        releases = read_releases(self._store)
        told = [entry.key.removeprefix(STATUS) for entry in self._store.list(STATUS)]
        named = {unquote(name.removesuffix(".json")) for name in told}
        known = sorted({*releases, *named, *usecases(self._store)})
        overviews = {name: self._overview(name, releases.get(name), now_us) for name in known}
        with self._change:
            if self._fleet is None or not self._fleet.counted:
                self._fleet = Fleet(overviews, read_us=now_us)
                self._change.notify_all()
        reports = self._reader.read()
        self._paces.hear(reports)
        by_usecase: dict[str, list[Report]] = {}
        for report in reports:
            by_usecase.setdefault("" if report.state == "unreadable" else report.usecase, []).append(report)
        unreadable = look(by_usecase.pop("", []), None, self._paces, now_us)
        for name in by_usecase.keys() - overviews.keys():
            overviews[name] = self._overview(name, None, now_us)
        counted = {name: self._counted(found, by_usecase.get(name, [])) for name, found in sorted(overviews.items())}
        return Fleet(counted, tuple(unreadable), "", now_us, counted=True)

    def _overview(self, usecase: str, release: Release | None, now_us: int) -> Overview:
        history, problem = self._history(usecase)
        return Overview(
            usecase,
            self._told(usecase),
            release,
            _served(history, release.version if release else ""),
            tuple(reversed(history[-MOST_HISTORY:])),
            problem,
            evidence.monitoring(self._store, usecase),
            evidence.retraining(self._store, usecase),
            evidence.challenger(self._store, usecase),
            now_us,
        )

    def _counted(self, found: Overview, reports: Sequence[Report]) -> Overview:
        now_us = self._clock()
        seen = look(reports, found.release, self._paces, now_us)
        muster = count(seen, now_us)
        lines = attention(
            found.told.fields,
            found.release,
            seen,
            muster,
            monitoring=found.monitoring,
            retraining=found.retraining,
            now_us=now_us,
        )
        return replace(found, seen=seen, muster=muster, attention=tuple(lines), counted_us=now_us)

    def _told(self, usecase: str) -> Told:
        fields = read_status(self._store, usecase)
        key = status_key(usecase)
        written = [entry.modified_us for entry in self._store.list(key) if entry.key == key]
        return Told(written[0], fields) if fields and written else Told()

    def _history(self, usecase: str) -> tuple[tuple[Promotion, ...], str]:
        """The ledger, oldest entry first, and what is wrong with it; read again only when there is more of it."""
        files = tuple(entry.etag for entry in self._store.list(f"{LEDGER}{key_part(usecase)}/"))
        before, history = self._ledgers.get(usecase, ((), ()))
        if files == before:
            return history, ""
        try:
            history = tuple(PromotionLedger(self._store, usecase).entries())
        except LedgerError as error:
            return history, str(error)
        self._ledgers[usecase] = files, history
        return history, ""


def _served(history: Sequence[Promotion], current: str) -> tuple[str, ...]:
    """Versions that served before, the last one first; without those whose rollout was aborted."""
    aborted = {entry.from_version for entry in history if entry.outcome == "aborted"}
    versions = [entry.to_version for entry in reversed(history) if entry.outcome in _SERVED]
    return tuple(name for name in dict.fromkeys(versions) if name not in ("", current, *aborted))
