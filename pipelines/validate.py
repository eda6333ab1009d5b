"""Which decoded records are believed. The judge is `features.schema.check_readings`, the same as on the gateway."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features.schema import Fleet, Reason, check_devices, check_readings
from pipelines.records import UNSTAMPED, Decoded


def believe(fleet: Fleet, decoded: Decoded, clock_us: int | NDArray[np.int64]) -> Decoded:
    """Turn records that cannot be true into rejects.

    Args:
        fleet: What the records must fit.
        decoded: The records.
        clock_us: The time of receipt of records that no hub stamped, UTC microseconds: of all, or of each.

    Returns:
        The accepted records, each with a time of receipt, and all rejects.

    Example:
        >>> from features.catalog import load
        >>> from pipelines.formats import decode
        >>> fleet = load("pumps").fleet
        >>> data = b'{"device":"pump-1","ts":1764000000000,"values":{"flow":-7}}'
        >>> judged = believe(fleet, decode(data, fleet.mapping, fleet.signal_names), 1764000000000000)
        >>> [reject.sentence for reject in judged.rejects]
        ['A value lies outside the valid range of its signal.']
    """
    received = np.where(decoded.received == UNSTAMPED, clock_us, decoded.received)
    codes = check_readings(fleet, decoded.times, received, decoded.values)
    if not fleet.enrol:
        names = decoded.device.dictionary_encode()
        known = check_devices(fleet, names.dictionary.to_pylist())[names.indices.to_numpy()]
        codes[~known & (codes == 0)] = Reason.UNKNOWN_DEVICE.number
    return replace(decoded, received=received).reject(codes)
