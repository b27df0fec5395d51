"""What all tests share."""

import signal

from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has started the tests in the background. Processes of theirs that get a Ctrl-C are to hear it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines differ and are busy at times: no test fails for being slow once.
settings.register_profile("servesim", deadline=None)
settings.load_profile("servesim")
