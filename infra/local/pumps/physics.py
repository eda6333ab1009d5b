"""From demand and wear to the six readings of a centrifugal pump with a variable speed drive.

Demand ``u`` (flow relative to rated) follows the day and the week plus a slowly wandering part (Ornstein-Uhlenbeck),
and may rise for good on a day of the plan.
The drive holds the flow, so speed follows from the pump curve and the plant curve by the affinity laws
(``Q ~ n``, ``H ~ n^2``; Gülich, "Centrifugal Pumps", ch. 4):

    H = H0 s^2 - A Q^2 = Hs + K Q^2          s = n / n_rated
    P = rho g Q H / eta(Q / s)               shaft power, eta a parabola around the best point
    I = sqrt((P / (sqrt3 U cos phi eta_m))^2 + I_0^2)

Vibration (velocity, mm/s RMS) of a new pump lies in zones A and B of ISO 10816-7 (below 4.0). It grows with speed
squared, with distance from the best point, with wear (into zone D, beyond 6.6, before failure) and with cavitation.
Bearing temperature follows friction heat and the season's ambient with a first-order lag of 40 minutes.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.episodes import episodes
from infra.local.pumps.plan import MINUTES_A_DAY, Plan
from infra.local.pumps.wear import Event, course_of

GRAVITY_KPA = 9.81  # rho g of water, kPa per metre of head
VOLTAGE = 400.0
POWER_FACTOR = 0.86
MOTOR_EFFICIENCY = 0.93
TEMPERATURE_LAG_MINUTES = 40.0
SIGNALS = ("vibration", "bearing_temperature", "pressure", "flow", "motor_current", "speed")


@dataclasses.dataclass(frozen=True, slots=True)
class Course:
    """Everything one pump does: ``values`` shape ``(minutes, 6)`` in the order of ``SIGNALS``, and its events."""

    values: NDArray[np.float64]
    wear: NDArray[np.float64]
    events: tuple[Event, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Pump:
    """Parameters of one pump, drawn once: rated flow m3/h, rated head m, rated speed rpm, levels in their units."""

    flow: float
    head: float
    speed: float
    quiet_vibration: float
    wear_vibration: float
    ambient: float
    warm: float
    base_demand: float
    phase: float


def simulate(plan: Plan, device: int) -> Course:
    """Course of one pump from the start of the plan to its last day, a reading a minute; no sensor faults yet."""
    random = np.random.default_rng((plan.seed, device, 0))
    pump = _draw(random)
    minute = np.arange(plan.minutes, dtype=np.float64)
    demand = _demand(plan, device, pump, minute)
    ratio, head, share = _hydraulics(pump, demand)
    load = ratio * (0.6 + 0.4 * head / pump.head + 0.5 * (share - 1.0) ** 2) ** 3
    life = course_of(plan, device, load / 0.62)
    running = life.running.astype(np.float64)
    starved = _starving(plan, device) * running
    noise = np.random.default_rng((plan.seed, device, 3)).standard_normal((plan.minutes, 6))
    flow = pump.flow * demand * running * (1.0 - 0.06 * starved * (1.0 + 0.6 * noise[:, 5]))
    pressure = GRAVITY_KPA * head / 100.0 * (0.35 + 0.65 * running) * (1.0 - 0.05 * starved)
    quiet = pump.quiet_vibration * ratio**2 * (0.8 + 1.2 * (share - 1.0) ** 2)
    rough = pump.wear_vibration * life.wear * ratio**1.5
    vibration = (quiet + rough + starved * (3.0 + 0.6 * noise[:, 4])) * running
    values = np.column_stack(
        [
            0.05 + np.abs(vibration * (1.0 + 0.10 * noise[:, 0])),
            _temperature(plan, pump, minute, ratio * running, life.wear) + 0.3 * noise[:, 1],
            np.abs(pressure * (1.0 + 0.008 * noise[:, 2])),
            np.abs(flow * (1.0 + 0.010 * noise[:, 3])),
            np.abs(_current(pump, flow, head, share, life.wear) * running * (1.0 + 0.012 * noise[:, 4])),
            np.abs(pump.speed * ratio * running * (1.0 + 0.001 * noise[:, 5])),
        ]
    )
    return Course(values, life.wear, life.events)


def lag(series: NDArray[np.float64], minutes: float) -> NDArray[np.float64]:
    """First-order lag ``y[k] = d y[k-1] + (1 - d) x[k]`` with time constant ``minutes``, in logarithmically many steps.

    Example:
        >>> lag(np.array([1.0, 1.0, 1.0]), 1 / np.log(2)).round(3).tolist()   # starts settled at the first value
        [1.0, 1.0, 1.0]
        >>> lag(np.array([0.0, 1.0, 1.0]), 1 / np.log(2)).round(3).tolist()
        [0.0, 0.5, 0.75]
    """
    decay = float(np.exp(-1.0 / minutes))
    settled = (1.0 - decay) * series
    settled[0] = series[0]
    step = 1
    while step < settled.shape[0] and decay > 1e-12:  # noqa: PLR2004 - below, the past no longer shows in a float64
        settled[step:] += decay * settled[:-step].copy()
        decay, step = decay * decay, step * 2
    return settled


def _draw(random: np.random.Generator) -> _Pump:
    two_pole = bool(random.random() < 0.5)  # noqa: PLR2004 - half of the pumps have two-pole motors
    return _Pump(
        flow=random.uniform(90.0, 190.0),
        head=random.uniform(38.0, 62.0),
        speed=2950.0 if two_pole else 1480.0,
        quiet_vibration=random.uniform(1.1, 2.7),
        wear_vibration=random.uniform(8.0, 8.8),
        ambient=random.uniform(14.0, 22.0),
        warm=random.uniform(24.0, 34.0),
        base_demand=random.uniform(0.62, 0.78),
        phase=random.uniform(-90.0, 90.0),
    )


def _demand(plan: Plan, device: int, pump: _Pump, minute: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flow asked for, relative to rated: two peaks a working day, less at the weekend, a slow wander, a rise."""
    day = 2.0 * np.pi * (minute + pump.phase) / MINUTES_A_DAY
    weekday = (plan.start_ms // 86_400_000 + 3 + minute // MINUTES_A_DAY) % 7  # 1970-01-01 was a Thursday
    shape = -0.14 * np.cos(day) - 0.07 * np.cos(2.0 * day + 0.6)
    random = np.random.default_rng((plan.seed, device, 4))
    wander = lag(random.standard_normal(plan.minutes), 300.0) * 0.05 * np.sqrt(2.0 * 300.0)
    weekend = (weekday > 4).astype(np.float64)  # noqa: PLR2004 - Saturday and Sunday
    risen = plan.more_demand * (minute >= plan.more_from_day * MINUTES_A_DAY)
    demand = pump.base_demand + shape - 0.08 * weekend + wander + risen
    return np.asarray(np.clip(demand, 0.25, 1.05), dtype=np.float64)


def _hydraulics(
    pump: _Pump, demand: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Speed ratio, head in m and flow relative to the best point at that speed, where pump and plant curve meet."""
    shut_off, fall, static = 1.22 * pump.head, 0.22 * pump.head, 0.45 * pump.head
    head = static + (pump.head - static) * demand**2
    ratio = np.sqrt((head + fall * demand**2) / shut_off)
    return ratio, head, demand / ratio


def _current(
    pump: _Pump,
    flow: NDArray[np.float64],
    head: NDArray[np.float64],
    share: NDArray[np.float64],
    wear: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Motor current in A: hydraulic power over efficiency, plus the friction a worn bearing adds."""
    efficiency = 0.8 * np.maximum(1.0 - 0.9 * (share - 1.0) ** 2, 0.3)
    power = GRAVITY_KPA * flow / 3600.0 * head / efficiency  # kW
    rated = GRAVITY_KPA * pump.flow / 3600.0 * pump.head / 0.8
    active = (power + 0.05 * rated * wear) * 1000.0 / (np.sqrt(3.0) * VOLTAGE * POWER_FACTOR * MOTOR_EFFICIENCY)
    idle = 0.3 * rated * 1000.0 / (np.sqrt(3.0) * VOLTAGE)
    return np.asarray(np.hypot(active, idle), dtype=np.float64)


def _temperature(
    plan: Plan, pump: _Pump, minute: NDArray[np.float64], ratio: NDArray[np.float64], wear: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bearing temperature, degC: ambient (season and day) and friction, through a first-order lag."""
    year_day = (plan.start_ms / 86_400_000 + minute / MINUTES_A_DAY) % 365.25
    ambient = pump.ambient - 6.0 * np.cos(2.0 * np.pi * (year_day - 20.0) / 365.25)
    ambient = ambient - 2.5 * np.cos(2.0 * np.pi * (minute - 180.0) / MINUTES_A_DAY)
    settled: NDArray[np.float64] = ambient + pump.warm * ratio**2 * (1.0 + 0.75 * wear)
    return lag(settled, TEMPERATURE_LAG_MINUTES)


def _starving(plan: Plan, device: int) -> NDArray[np.float64]:
    """1 while the suction side starves and the pump cavitates, else 0, shape ``(minutes,)``."""
    active = np.zeros(plan.minutes)
    random = np.random.default_rng((plan.seed, device, 2))
    for begin, end in episodes(random, plan.minutes, 6.0 * MINUTES_A_DAY, 160.0).tolist():
        active[begin:end] = 1.0
    return active
