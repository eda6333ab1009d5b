import os

from hypothesis import Phase, settings

# A busy machine is no finding: no example fails for the time it took. A failure prints the seed that repeats it.
settings.register_profile("features", deadline=None, print_blob=True)
settings.register_profile("sweep", deadline=None, print_blob=True, max_examples=2_000)
settings.register_profile(
    "mutants", deadline=None, max_examples=20, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("TIDEMILL_LAWS", "features"))
