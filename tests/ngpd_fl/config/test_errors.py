"""Bad input is refused in one line that names the key, what is wrong and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngpd_fl.config import Config, InputError, parse_assignments
from ngpd_fl.training.run import run
from tests.ngpd_fl.config.bad import IMPOSSIBLE, INVALID, Bad


@pytest.mark.parametrize("bad", INVALID, ids=lambda bad: ",".join(bad.overrides))
def test_invalid_values_are_named(bad: Bad) -> None:
    with pytest.raises(InputError) as caught:
        Config.load(overrides=bad.overrides)
    assert str(caught.value) == bad.error


@pytest.mark.parametrize("bad", IMPOSSIBLE, ids=lambda bad: ",".join(bad.overrides))
def test_impossible_runs_are_refused_before_anything_is_written(bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(Config.load(overrides=bad.overrides), out=tmp_path / "out")
    assert str(caught.value).startswith(bad.error)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[training", "not valid TOML"),
        ("seed = 1\nseed = 2", "not valid TOML"),
        (b"\xff\xfe", "is UTF-16 text; save it as UTF-8"),
        (b"\xff", "is not UTF-8 text, at byte 0"),
        ("self = 1", "self: unknown key"),
    ],
)
def test_files_that_are_no_configuration(text: str | bytes, error: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=error) as caught:
        Config.load(path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config file .*c\.toml: cannot be read \(No such file"):
        Config.load(tmp_path / "c.toml")
    with pytest.raises(InputError, match="cannot be read"):
        Config.load(tmp_path)


@pytest.mark.parametrize("assignment", ["strategy.lr", "=1", ""])
def test_assignments_that_are_none(assignment: str) -> None:
    with pytest.raises(InputError, match="expected key=value"):
        parse_assignments([assignment])
    with pytest.raises(InputError, match=r"^--slurm .*: expected key=value, e\.g\. time=60"):
        parse_assignments([assignment], "--slurm", "time=60")


def test_a_value_is_no_section(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[training]\nrounds = 3\n")
    with pytest.raises(InputError) as caught:
        Config.load(path, {"training.rounds.x": 1})
    assert str(caught.value) == "training.rounds.x: rounds is a value, not a section"


def test_a_long_value_is_cut() -> None:
    with pytest.raises(InputError) as caught:
        Config(training={"rounds": "x" * 500})
    assert len(str(caught.value)) < 200
