"""The rule for changing roles."""

from policies.roles.by_load import ByLoad
from tests.policy_views import View


def test_by_load_gives_the_overloaded_side_the_other_ones_least_loaded():
    busy, quiet = View(20_000), View(100)
    full, half, empty = View(900, free=50), View(700, free=500), View(0, free=1000)
    assert ByLoad().switch([busy], [half, empty], 0.0) is empty
    assert ByLoad().switch([busy, quiet], [half, empty], 0.0) is None  # 10,050 each
    assert ByLoad().switch([quiet, View(50)], [full], 0.0).outstanding_tokens == 50
    assert ByLoad().switch([quiet, quiet], [half], 0.0) is None


def test_by_load_leaves_no_side_empty_and_none_short():
    busy, full = View(20_000), View(900, free=50)
    assert ByLoad().switch([busy], [View()], 0.0) is None
    assert ByLoad().switch([View()], [full], 0.0) is None
    assert ByLoad().switch([busy], [full, View(free=100)], 0.0) is None  # one could not hold it all
    assert ByLoad().switch([View(16_000), View(16_000)], [full], 0.0) is None


def test_by_load_waits_between_changes():
    policy, prefill, decode = ByLoad(cooldown_s=30.0), [View(90_000)], [View(), View(), View()]
    assert policy.switch(prefill, decode, 100.0) is decode[0]
    assert policy.switch(prefill, decode, 129.0) is None
    assert policy.switch(prefill, decode, 130.0) is decode[0]
