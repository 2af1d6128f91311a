"""Settings of the property-based tests."""

from hypothesis import settings

# The first call of a compiled function may take a second: no test here is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
