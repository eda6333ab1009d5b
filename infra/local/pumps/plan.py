"""What to simulate: the size of the fleet, the period, the seed and how badly the network behaves."""

import dataclasses
from datetime import UTC, datetime

from infra.local.errors import SimulationPlanError

MINUTES_A_DAY = 1440
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """One simulated fleet over one period.

    Attributes:
        devices: Number of pumps, named ``pump-001`` and so on.
        days: Length of the period, days.
        seed: Everything random follows from it. A pump's course depends on the seed and the pump's number alone, so
            a longer run or a larger fleet begins with the same readings.
        start_ms: First instant, UTC milliseconds, a midnight.
        late_share: Share of messages held back by an uplink that was down (half an hour to half a day late).
        duplicate_share: Share of messages delivered twice.
        disorder_share: Share of messages that arrive a few minutes after their successors.
        corrupt_share: Share of messages spoilt on their way: cut off, wrong type, no device, wrong clock …
        fault_share: Share of minutes in which a pump has one faulty sensor (stuck, silent or spiking).
        from_day: First day whose arrivals are written, 0 = the first.
        to_day: Day before which writing stops; ``days`` when not given (-1).
        more_demand: Flow that the station asks for beyond the usual, relative to rated, 0 … 0.5: inputs that move.
        more_from_day: First day on which it does.

    Example:
        >>> plan = Plan(devices=2, days=3, seed=7, start_ms=parse_start("2026-01-05"))
        >>> plan.last_day, plan.minutes, plan.device_name(0)
        (3, 4320, 'pump-001')
    """

    devices: int
    days: int
    seed: int
    start_ms: int
    late_share: float = 0.01
    duplicate_share: float = 0.01
    disorder_share: float = 0.01
    corrupt_share: float = 0.0005
    fault_share: float = 0.004
    from_day: int = 0
    to_day: int = -1
    more_demand: float = 0.0
    more_from_day: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated, all complaints together."""
        shares = [field.name for field in dataclasses.fields(self) if field.name.endswith(("_share", "_demand"))]
        complaints = [f"{name} is {getattr(self, name)}, allowed 0 … 0.5" for name in shares if not self._allowed(name)]
        if not 1 <= self.devices <= 999:  # noqa: PLR2004 - the name of a pump has three digits
            complaints.append(f"devices is {self.devices}, allowed 1 … 999")
        if not 1 <= self.days <= 730:  # noqa: PLR2004 - two years of minutes are what memory holds comfortably
            complaints.append(f"days is {self.days}, allowed 1 … 730")
        if not 0 <= self.from_day < self.last_day <= self.days:
            complaints.append(f"days {self.from_day} … {self.last_day} do not lie within 0 … {self.days}")
        if complaints:
            raise SimulationPlanError(
                "the simulated fleet cannot be built",
                where="simulate pumps",
                why="; ".join(complaints),
                fix="tidemill simulate pumps --help",
            )

    def _allowed(self, share: str) -> bool:
        return 0.0 <= float(getattr(self, share)) <= 0.5  # noqa: PLR2004 - beyond, the exception were the rule

    @property
    def last_day(self) -> int:
        """Day before which writing stops."""
        return self.days if self.to_day < 0 else self.to_day

    @property
    def minutes(self) -> int:
        """Minutes that must be computed: from the start, because wear has a memory, to the last day written."""
        return self.last_day * MINUTES_A_DAY

    def device_name(self, number: int) -> str:
        """Name of pump ``number``, counted from 0."""
        return f"pump-{number + 1:03d}"


def parse_start(day: str) -> int:
    """Midnight UTC of an ISO day, milliseconds.

    Example:
        >>> parse_start("1970-01-02")
        86400000
    """
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
