"""What all tests share."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.compiled import look_out

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has started the tests in the background. Processes of theirs that get a Ctrl-C are to hear it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis tries the same examples at each run of the tests, so that a failure is of the change; ``make bench``
# looks for new ones. Machines differ and are busy at times: no test fails for being slow once.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("few", deadline=None, derandomize=True, max_examples=20)
# Where only whether a law fails is asked, and not the smallest case
settings.register_profile("mutants", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.register_profile("random", deadline=None, print_blob=True)
look_out()
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A folder, and files of others, whose tests take long
SLOW = {
    "slow",
    "test_adding_one_file.py",
    "test_azure_hour.py",
    "test_one_file_a_kind.py",
    "test_one_request_field.py",
    "test_validate.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make quick`` leaves out."""
    here = Path(__file__).parent
    for item in items:
        if SLOW & set(item.path.relative_to(here).parts):
            item.add_marker(pytest.mark.slow)
