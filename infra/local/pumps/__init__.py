"""A simulated fleet of centrifugal pumps that wear, fail, are repaired, and talk over a network that is not perfect.

    >>> import tempfile
    >>> from infra.local.pumps.plan import Plan, parse_start
    >>> from infra.local.pumps.run import write_fleet
    >>> plan = Plan(devices=1, days=1, seed=7, start_ms=parse_start("2026-01-05"), late_share=0, duplicate_share=0)
    >>> write_fleet(plan, tempfile.mkdtemp(), processes=1).messages
    1440

Floor plan, in the order in which a reading comes about:

- ``plan``        what to simulate
- ``episodes``    stretches of time in which something is different
- ``wear``        the hidden state: damage, failure, repair (ISO 281, gamma process, exponential degradation)
- ``physics``     demand -> speed, flow, pressure, current -> vibration (ISO 10816-7), temperature
- ``faults``      sensors that lie
- ``delivery``    the way to the hub: held back, repeated, overtaken, spoilt
- ``messages``    the text of a message
- ``run``         hour by hour into the store, in two processes

Why so:

- *Everything random has its own generator, keyed by seed, pump and purpose* (accepted). Days 30 to 40 written later are
  the bytes that one run over 40 days would have written, and a pump does the same in a fleet of 3 and of 300. Cost: the
  course is computed from its beginning each time, a second for 36 pumps and 40 days.
- *Failures are announced, but not loudly* (accepted). Wear shows in vibration, temperature and a little in current,
  behind load, cavitation and noise; the limit at which a bearing fails scatters, and shaft seals fail without warning.
  Gradient boosting over window features reaches an F1 of 0.81 to 0.87 for "fails within 24 h" on later weeks (seeds
  7, 8, 9, 11), a fixed vibration threshold 0.77 to 0.80.
- *The label is not in the telemetry* (accepted). A pump that failed stands still, as in a plant; failures are told by
  events, which become known hours to days later.
"""
