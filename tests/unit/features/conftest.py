from hypothesis import settings

# A busy machine is no finding: no example fails for the time it took. A failure prints the seed that repeats it.
settings.register_profile("features", deadline=None, print_blob=True)
settings.load_profile("features")
