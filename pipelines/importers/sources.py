"""Where the public sets come from, under which terms, and whom to cite: printed by every import.

Terms are as the publishers or the copies used here word them; where nobody names any, that is what stands here.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Origin:
    """One public data set.

    Attributes:
        title: What it is called.
        kind: Whether it was measured or simulated.
        source: Who published it and where.
        terms: Under which terms.
        cite: What to cite.
    """

    title: str
    kind: str
    source: str
    terms: str
    cite: str

    @property
    def lines(self) -> list[str]:
        """The set in words, for the end of an import."""
        return [
            f"{self.title} ({self.kind})",
            f"  source  {self.source}",
            f"  terms   {self.terms}",
            f"  cite    {self.cite}",
        ]


ORIGINS: Final[dict[str, Origin]] = {
    "azure_pdm": Origin(
        title="Microsoft Azure Predictive Maintenance",
        kind="simulated",
        source="Microsoft, Azure AI notebooks for predictive maintenance; Kaggle arnabbiswas1",
        terms="Kaggle says 'unknown': sample data for development, not to be passed on as one's own",
        cite="Microsoft, Azure AI notebooks for predictive maintenance",
    ),
    "backblaze": Origin(
        title="Backblaze Drive Stats",
        kind="physical",
        source="Backblaze, www.backblaze.com (hard drive test data)",
        terms="free to use if Backblaze is cited; you answer for your use; the data may not be sold (check their page)",
        cite="Backblaze, Hard Drive Data and Stats",
    ),
    "cmapss": Origin(
        title="Turbofan Engine Degradation Simulation (C-MAPSS)",
        kind="simulated",
        source="NASA Prognostics Center of Excellence, data repository",
        terms="its readme names none; a work of NASA, so probably in the public domain",
        cite="A. Saxena, K. Goebel, D. Simon, N. Eklund, Damage Propagation Modeling for Aircraft Engine "
        "Run-to-Failure Simulation, PHM08, 2008",
    ),
    "femto": Origin(
        title="PRONOSTIA bearings (FEMTO-ST), IEEE PHM 2012 data challenge",
        kind="physical",
        source="FEMTO-ST; copy: github.com/wkzs111/phm-ieee-2012-data-challenge-dataset",
        terms="none known; citation asked for",
        cite="P. Nectoux et al., PRONOSTIA: an experimental platform for bearings accelerated degradation tests, "
        "IEEE PHM, 2012",
    ),
    "nab": Origin(
        title="Numenta Anomaly Benchmark, realKnownCause",
        kind="physical",
        source="github.com/numenta/NAB",
        terms="MIT, the licence stands beside the copy",
        cite="S. Ahmad, A. Lavin, S. Purdy, Z. Agha, Unsupervised real-time anomaly detection for streaming data, "
        "Neurocomputing 262, 2017",
    ),
    "occupancy": Origin(
        title="UCI Occupancy Detection",
        kind="physical",
        source="UCI Machine Learning Repository; github.com/LuisM78/Occupancy-detection-data",
        terms="CC BY 4.0 as UCI lists it",
        cite="L. Candanedo, V. Feldheim, Accurate occupancy detection of an office room from light, temperature, "
        "humidity and CO2 measurements using statistical learning models, Energy and Buildings 112, 2016",
    ),
    "skab": Origin(
        title="Skoltech Anomaly Benchmark (SKAB) v0.9",
        kind="physical",
        source="github.com/waico/SKAB",
        terms="GPL-3.0, the licence stands beside the copy: keep the files out of packages with another licence",
        cite="I. Katser, V. Kozitsin, Skoltech Anomaly Benchmark (SKAB), Kaggle, 2020",
    ),
}
"""By the name of the fleet."""
