"""``make sweep``: kernel, ingest and promotion under strain, use cases and journeys, for hours rather than minutes.

Prints a line of counts for each part, and ends with 1 where something broke. ``SWEEP=<words>`` takes the parts whose
name holds the words.
"""

import os
import sys
import time
from collections.abc import Callable

from tests.sweep import (
    faults,
    hostile,
    interruptions,
    journeys,
    kernel,
    laws,
    promotions,
    public_sets,
    scanner,
    store_faults,
    use_cases,
)

PARTS: dict[str, Callable[[], bool]] = {
    "kernel under sanitizers": kernel.sanitized,
    "laws": laws.hold,
    "kernel mutants": kernel.mutants,
    "scanner under sanitizers": scanner.sanitized,
    "hostile objects": lambda: hostile.main([]) == 0,
    "public sets": public_sets.main,
    "ingest faults": faults.run,
    "store faults": store_faults.sweep,
    "promotions": promotions.sweep,
    "interruptions": interruptions.sweep,
    "use cases": use_cases.run,
    "journeys": journeys.run,
}


def main() -> None:
    """Run the parts, all of them even when one fails."""
    chosen = {name: part for name, part in PARTS.items() if os.environ.get("SWEEP", "") in name}
    if not chosen:
        sys.exit(f"no part has SWEEP in its name; there are {', '.join(PARTS)}")
    broken = []
    for name, part in chosen.items():
        print(f"== {name}", flush=True)
        begin = time.monotonic()
        if not part():
            broken.append(name)
        print(f"   {time.monotonic() - begin:.0f} s, {'BROKEN' if name in broken else 'sound'}", flush=True)
    print(
        f"{len(chosen) - len(broken)} of {len(chosen)} parts sound"
        + (f"; broken: {', '.join(broken)}" if broken else "")
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
