"""Draws of devices, jitter and absences: keyed, and of the distributions that they claim."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ngpd_fl.config import Config, DevicesConfig, InputError
from ngpd_fl.devices import Device, draw_devices, jitter_seconds, offline_periods
from tests.ngpd_fl.devices.example import device


def drawn(num_nodes: int, seed: int = 0, **values: Any) -> list[Device]:
    return draw_devices(DevicesConfig(**values), num_nodes, seed)


def test_by_default_all_are_the_reference() -> None:
    devices = drawn(3)
    assert [each.name for each in devices] == ["reference"] * 3
    assert all((each.step_seconds, each.up_kbit_s, each.latency_s) == (0.01, inf, 0.0) for each in devices)


def test_a_mix_has_its_shares_in_any_order() -> None:
    """3000 nodes of shares 1 : 2 : 3; a binomial's 5 standard deviations are 137 at most."""
    mix = {"raspberry-pi-4": 3.0, "jetson-nano": 1.0, "jetson-tx2": 2.0}
    names = [each.name for each in drawn(3000, mix=mix)]
    assert [names.count(name) for name in mix] == [pytest.approx(count, abs=137) for count in (1500, 500, 1000)]
    assert names == [each.name for each in drawn(3000, mix=dict(reversed(mix.items())))]
    assert {each.name for each in drawn(50, mix={"jetson-nano": 0.001})} == {"jetson-nano"}


def test_a_nodes_device_depends_on_seed_and_node_alone() -> None:
    values: dict[str, Any] = {"mix": {"phone-slow": 1, "phone-mid": 1, "phone-fast": 1}, "step_sigma": 0.5}
    few, many = drawn(5, **values), drawn(40, **values)
    assert few == many[:5] == drawn(5, **values)
    assert many != drawn(40, seed=1, **values)
    # Another spread, or a straggler, changes no class and no other node's draw.
    assert [each.name for each in drawn(40, **{**values, "step_sigma": 0.0})] == [each.name for each in many]
    slowed = drawn(40, slow={3: 10}, **values)
    assert slowed[3].step_seconds == pytest.approx(10 * many[3].step_seconds)
    assert slowed[:3] + slowed[4:] == many[:3] + many[4:]


def test_classes_by_node_and_their_speed() -> None:
    names = ("jetson-tx2", "raspberry-pi-4", "jetson-tx2", "fedscale-client-1")
    devices = drawn(4, classes=names, seconds_per_step=0.02, slow={2: 10.0})
    assert tuple(each.name for each in devices) == names
    assert [each.step_seconds for each in devices] == pytest.approx([0.02, 0.2325, 0.2, 14.688])


def test_spreads_are_log_normal() -> None:
    """Median 1 and sigma as given, computing and links apart: Kolmogorov and Smirnov's test on 500 nodes."""
    devices = drawn(500, mix={"phone-mid": 1}, step_sigma=0.3, link_sigma=0.7)
    steps = np.log([each.step_seconds / 0.032849 for each in devices])
    links = np.log([each.up_kbit_s / 26916 for each in devices])
    assert stats.kstest(steps / 0.3, "norm").pvalue > 0.01
    assert stats.kstest(links / 0.7, "norm").pvalue > 0.01
    assert abs(np.corrcoef(steps, links)[0, 1]) < 0.15
    assert links == pytest.approx(np.log([each.down_kbit_s / 35370 for each in devices]))


def test_a_table_of_ones_own_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("name,step_seconds,source\njetson-nano,3,assumed\nmine,4,assumed\n")
    devices = drawn(3, table=path, classes=("jetson-nano", "mine", "jetson-tx2"))
    assert [each.step_seconds for each in devices] == [3.0, 4.0, 0.01]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mix": {"cray": 1}}, "devices.mix: 'cray' is not known; allowed: reference, jetson-tx2, jetson-nano"),
        ({"classes": ("cray", "cray")}, "devices.classes: 'cray' is not known; allowed: reference, jetson-tx2"),
        ({"classes": ("reference",)}, "devices.classes: must name 2 classes, one for each node (got 1)"),
        ({"slow": {2: 3}}, "devices.slow: there is no node 2; allowed: 0 to 1"),
        ({"table": Path("none.toml")}, "device table none.toml: cannot be read (No such file"),
    ],
)
def test_what_is_not_there(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        drawn(2, **values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mix": {"a": -1}}, "devices.mix.a: input should be greater than 0 (got -1)"),
        ({"mix": {}}, "devices.mix: needs at least one class; leave it unset for the reference device"),
        ({"mix": {"a": 1}, "classes": ["a"]}, "devices.classes: mix draws the classes already; give one of the two"),
        ({"slow": {3: 0}}, "devices.slow.3: input should be greater than 0 (got 0)"),
        ({"speed": 1}, f"devices.speed: unknown key; allowed: {', '.join(DevicesConfig.model_fields)}"),
    ],
)
def test_what_the_configuration_refuses(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Config(devices=values)
    assert str(caught.value) == said


def test_jitter_is_exponential_and_keyed() -> None:
    """Of mean 0.02 + 0.03."""
    sender, receiver = device(jitter_s=0.02), device(jitter_s=0.03)
    delays = [jitter_seconds(sender, receiver, 7, edge, message) for edge in range(20) for message in range(25)]
    assert stats.kstest(delays, "expon", args=(0, 0.05)).pvalue > 0.01
    assert len(set(delays)) == 500
    assert jitter_seconds(sender, receiver, 7, 3, 4) == delays[3 * 25 + 4] != jitter_seconds(sender, receiver, 8, 3, 4)
    assert jitter_seconds(device(), device(), 7, 3, 4) == 0.0


def test_absences_have_the_devices_means() -> None:
    """Ten minutes on, one off: shares of time follow, and periods are in order and keyed by the node."""
    phone = device(online_s=600.0, offline_s=60.0)
    periods = list(islice(offline_periods(phone, 2, 5), 500))
    assert periods == list(islice(offline_periods(phone, 2, 5), 500)) != list(islice(offline_periods(phone, 3, 5), 500))
    assert periods[0][0] > 0
    offline = [end - begin for begin, end in periods]
    online = [after[0] - before[1] for before, after in pairwise(periods)]
    assert min(*offline, *online) >= 0
    assert stats.kstest(offline, "expon", args=(0, 60)).pvalue > 0.01
    assert stats.kstest(online, "expon", args=(0, 600)).pvalue > 0.01
    assert list(offline_periods(device(), 2, 5)) == []
