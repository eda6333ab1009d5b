"""The first look at somebody's telemetry: one object is read without knowing what it is, and a mapping is drafted.

Everything here guesses, which the readers never do; that is why a person confirms the draft before anything is read by
it. ``survey`` says what an object is and what stands in it, ``guess`` proposes a mapping, ``draft`` tries it on the
object and writes the catalog entry.
"""
