"""How a bearing wears, fails and is replaced: the hidden state that everything else shows a little of.

Damage collects as ISO 281 has it, ``dD/dt ~ n P^3`` (n speed, P load of the bearing), with gamma-distributed steps:
a gamma process never heals (van Noortwijk, 2009, "A survey of the application of gamma processes in maintenance").
Wear grows faster the more there is, ``W = (exp(a D) - 1) / (exp(a) - 1)``, the exponential degradation signal of
Gebraeel et al. (2005, "Residual-life distributions from component degradation signals"). A bearing fails when its wear
passes a limit of its own, which scatters around 1: that scatter is what no model can know in advance. A few failures
come without any warning. Lives are about a hundred times shorter than those of real bearings, so that six weeks show
what takes a plant years.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.plan import MINUTES_A_DAY, Plan

LIFE_DAYS = 15.0  # mean time from a new bearing to its failure at the usual load
LIFE_SPREAD = 0.12  # coefficient of variation of the time constants of single bearings
LIMIT_SPREAD = 0.02  # coefficient of variation of the wear at which a bearing fails
STEEPNESS = 6.0  # a: wear doubles every 12 % of a life
DAMAGE_SPREAD = 1.5  # squared coefficient of variation of one hour's damage
SHOCK_DAYS = 600.0  # mean time between failures that give no warning
INSPECTION_DAYS = (16.0, 30.0)  # time between planned maintenances of one pump
REPLACED_SHARE = 0.55  # of the planned maintenances; the others lubricate, which changes nothing here


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something the maintenance crew wrote down: minutes since the start of the simulation."""

    minute: int
    kind: str
    detail: str
    known_minute: int


@dataclasses.dataclass(frozen=True, slots=True)
class Wear:
    """Course of one bearing position: ``wear`` (0 new, about 1 worn out) and ``running``, both shape ``(minutes,)``."""

    wear: NDArray[np.float64]
    running: NDArray[np.bool_]
    events: tuple[Event, ...]


def course_of(plan: Plan, device: int, load: NDArray[np.float64]) -> Wear:
    """Lives of the bearings of one pump, one after the other.

    Args:
        plan: The simulated fleet.
        device: Number of the pump.
        load: Damage rate relative to the usual one, per minute, shape ``(minutes,)``.

    Returns:
        Wear, whether the pump runs, and the events; events are reported hours to days later (``known_minute``).
    """
    minutes = load.shape[0]
    wear = np.zeros(minutes)
    running = np.ones(minutes, dtype=np.bool_)
    events: list[Event] = []
    begin, life = 0, 0
    while begin < minutes:
        random = np.random.default_rng((plan.seed, device, 1, life))
        end = _live(random, load[begin:], wear[begin:], events, begin, first=life == 0)
        stop = min(end.minute, minutes)
        resumed = min(stop + end.downtime, minutes)
        running[stop:resumed] = False
        wear[stop:resumed] = 0.0
        begin, life = max(resumed, begin + 1), life + 1
    return Wear(wear, running, tuple(event for event in events if event.minute < minutes))


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    minute: int
    downtime: int


def _live(
    random: np.random.Generator,
    load: NDArray[np.float64],
    wear: NDArray[np.float64],
    events: list[Event],
    begin: int,
    *,
    first: bool,
) -> _End:
    """One bearing from its start to its failure or replacement; fills ``wear`` and appends to ``events``."""
    life = LIFE_DAYS * MINUTES_A_DAY * max(0.3, random.normal(1.0, LIFE_SPREAD))
    used = random.uniform(0.0, 0.8) if first else 0.0
    limit = max(0.6, random.normal(1.0, LIMIT_SPREAD))
    shock = int(random.exponential(SHOCK_DAYS * MINUTES_A_DAY))
    visits = np.cumsum(random.uniform(*INSPECTION_DAYS, size=4)) * MINUTES_A_DAY
    replaced = random.random(4) < REPLACED_SHARE
    downtime, report, visit_report = random.uniform(3, 20), random.uniform(1, 12), random.uniform(2, 60)
    shape = 1.0 / (DAMAGE_SPREAD * 60.0)
    damage = used + np.cumsum(load * random.gamma(shape, 1.0 / shape, size=load.shape[0])) / life
    wear[:] = np.expm1(STEEPNESS * np.minimum(damage, 2.0)) / np.expm1(STEEPNESS)
    worn = int(np.searchsorted(wear, limit))
    failed = min(worn, shock)
    for visit, replace in zip(visits.astype(int).tolist(), replaced.tolist(), strict=True):
        if visit >= failed:
            break
        detail = "bearing replaced" if replace else "lubricated"
        events.append(Event(begin + visit, "maintenance", detail, begin + visit + int(60 * visit_report)))
        if replace:
            return _End(begin + visit, 120)
    detail = "bearing" if worn <= shock else "shaft seal"
    repaired = failed + int(60 * downtime)
    events.append(Event(begin + failed, "failure", detail, begin + failed + int(60 * report)))
    events.append(Event(begin + repaired, "maintenance", "bearing replaced", begin + repaired + int(60 * visit_report)))
    return _End(begin + failed, repaired - failed)
