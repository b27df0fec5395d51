"""What all tests share."""

from hypothesis import settings

# Machines differ and are busy at times: no test fails for being slow once.
settings.register_profile("servesim", deadline=None)
settings.load_profile("servesim")
