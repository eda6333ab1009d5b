"""Turbofan engines of NASA's C-MAPSS simulation: a record a flight, which counts as an hour, and a row a flight.

The data set has no clock; the importer makes each cycle an hour, so a window of 24 h is one of 24 flights. Sensors are
called as in the simulation's user's guide; the number behind "sensor" is that of the published columns.

FD002 and FD004 fly under six conditions, FD001 and FD003 under one. ``REGIMES`` tells conditions apart by the settings,
so that one definition serves all four; training learns where they lie.

Wear is slow and sensors are noisy, and engines come with a wear of their own from the factory. So each sensor is seen
now, over as many flights as the shortest lives of the sets allow, and since the first flight: from all three a model
tells where an engine began, how far it is from there, and how fast it goes.

To add a feature, add a line to ``FEATURES``: for one, ``Feature("Nc", "min", LONG),``; for a family of them, a
``*grid(signals, statistics, windows),``. The statistics there are stand in ``features.statistic.STATISTICS``.
"""

from datetime import timedelta

from features.feature import Feature, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.regime import RegimeRule
from features.schema import Fleet, Mapping, Signal

FLIGHT = timedelta(hours=1)
SHORT = 5 * FLIGHT
LONG = 15 * FLIGHT  # the shortest record among the engines of FD004 has 19 flights; a longer window would pass it over

FLEET = Fleet(
    name="cmapss",
    description="Turbofan engines of the C-MAPSS data sets FD001 to FD004, simulated by NASA until they failed",
    signals=(
        Signal("setting1", "kft", -1, 50, "Operational setting 1: altitude"),
        Signal("setting2", "Mach", -0.1, 1, "Operational setting 2: Mach number"),
        Signal("setting3", "%", 0, 110, "Operational setting 3: throttle resolver angle"),
        Signal("T2", "R", 350, 600, "Sensor 1: total temperature at fan inlet"),
        Signal("T24", "R", 450, 750, "Sensor 2: total temperature at low-pressure compressor outlet"),
        Signal("T30", "R", 1000, 1900, "Sensor 3: total temperature at high-pressure compressor outlet"),
        Signal("T50", "R", 800, 1700, "Sensor 4: total temperature at low-pressure turbine outlet"),
        Signal("P2", "psia", 1, 20, "Sensor 5: pressure at fan inlet"),
        Signal("P15", "psia", 2, 30, "Sensor 6: total pressure in bypass duct"),
        Signal("P30", "psia", 50, 700, "Sensor 7: total pressure at high-pressure compressor outlet"),
        Signal("Nf", "rpm", 1000, 3000, "Sensor 8: physical fan speed"),
        Signal("Nc", "rpm", 6000, 11000, "Sensor 9: physical core speed"),
        Signal("epr", "1", 0.5, 2, "Sensor 10: engine pressure ratio P50/P2"),
        Signal("Ps30", "psia", 20, 65, "Sensor 11: static pressure at high-pressure compressor outlet"),
        Signal("phi", "pps/psi", 50, 700, "Sensor 12: ratio of fuel flow to Ps30"),
        Signal("NRf", "rpm", 1000, 3000, "Sensor 13: corrected fan speed"),
        Signal("NRc", "rpm", 6000, 11000, "Sensor 14: corrected core speed"),
        Signal("BPR", "1", 5, 15, "Sensor 15: bypass ratio"),
        Signal("farB", "1", 0, 0.1, "Sensor 16: burner fuel-air ratio"),
        Signal("htBleed", "1", 200, 500, "Sensor 17: bleed enthalpy"),
        Signal("Nf_dmd", "rpm", 1000, 3000, "Sensor 18: demanded fan speed"),
        Signal("PCNfR_dmd", "%", 50, 120, "Sensor 19: demanded corrected fan speed"),
        Signal("W31", "lbm/s", 2, 60, "Sensor 20: high-pressure turbine coolant bleed"),
        Signal("W32", "lbm/s", 2, 40, "Sensor 21: low-pressure turbine coolant bleed"),
    ),
    sampling=FLIGHT,
    late_after=FLIGHT,
    max_future=FLIGHT,
    max_age=timedelta(days=10_950),  # imported history; a clock that stands at 1970 is still refused
    mapping=Mapping(device="device", time="ts", time_unit="ms", received="received", signals="values"),
)

# All that move with the condition or with wear; the rest is constant or says the same as another.
WEARING = (
    *("T24", "T30", "T50", "P15", "P30", "Nf", "Nc", "Ps30"),
    *("phi", "NRf", "NRc", "BPR", "htBleed", "W31", "W32"),
)
REGIMES = RegimeRule(settings=("setting1", "setting2", "setting3"), count=6, signals=WEARING)

FEATURES = FeatureSet(
    fleet=FLEET,
    pane=FLIGHT,
    every=FLIGHT,
    features=(
        *grid(WEARING, ["mean"], [SHORT, LONG]),
        *grid(WEARING, ["slope"], [LONG]),
        # Since the first flight: the wear an engine came with, and its whole course.
        *(Feature(signal, statistic, Since()) for signal in WEARING for statistic in ("mean", "slope")),
        TimeSince(),
    ),
    regimes=REGIMES,
)
