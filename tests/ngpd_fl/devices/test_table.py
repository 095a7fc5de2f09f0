"""Device tables: TOML and CSV say the same, what is written is read, and what is wrong is said in one line."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngpd_fl.config import InputError
from ngpd_fl.config.config import read_toml
from ngpd_fl.devices import SHIPPED, DeviceClass, class_toml, read_table

TOML = """
[board]
step_factor = 11.625
up_kbit_s = 2000
latency_s = 0.02
memory_bytes = 4294967296
source = "assumed, but for one"

[phone]
step_seconds = 0.179
online_s = 600.0
offline_s = 60
compute_w = 5
idle_w = 1.5
source = "a paper"
"""

CSV = """\
name, step_factor, step_seconds, up_kbit_s, latency_s, memory_bytes, online_s, offline_s, compute_w, idle_w, source
board, 11.625, , 2000, 0.02, 4294967296, , , , , "assumed, but for one"

phone, , 0.179, , , , 600, 60.0, 5, 1.5, a paper
"""


def write(tmp_path: Path, text: str, suffix: str = ".toml") -> Path:
    path = tmp_path / f"table{suffix}"
    path.write_text(text, encoding="utf-8")
    return path


def test_toml_and_csv_say_the_same(tmp_path: Path) -> None:
    read = read_table(write(tmp_path, TOML))
    assert read == read_table(write(tmp_path, CSV, ".csv"))
    assert (read["board"].step_factor, read["board"].up_kbit_s, read["board"].down_kbit_s) == (11.625, 2000.0, inf)
    assert read["phone"].source == "a paper"


def test_a_spreadsheets_csv(tmp_path: Path) -> None:
    """With the mark that some put before the first column, and their ends of lines."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfname,step_seconds,source\r\na,1,assumed\r\n")
    assert read_table(path) == {"a": DeviceClass(step_seconds=1, source="assumed")}


NUMBERS = st.floats(1e-6, 1e12)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    NUMBERS,
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, number: float, source: str
) -> None:
    given = DeviceClass(step_seconds=number, up_kbit_s=number, memory_bytes=7, source=f"assumed {source}")
    path = tmp_path_factory.mktemp("table") / "t.toml"
    path.write_text(class_toml(name, given), encoding="utf-8", newline="")
    assert read_table(path) == {name: given}


def test_the_reference_rules_factors_only() -> None:
    factor = DeviceClass(step_factor=11.625, down_kbit_s=5, source="x").device("board", 0.02)
    assert (factor.name, factor.step_seconds, factor.down_kbit_s, factor.source) == ("board", 0.2325, 5.0, "x")
    assert DeviceClass(step_seconds=0.3, source="x").device("board", 0.02).step_seconds == 0.3


def test_every_shipped_number_has_a_source() -> None:
    """Each key that a class sets is named in its source; a class that has all of them from one place is none here."""
    for name, values in read_toml(SHIPPED).items():
        unnamed = [key for key in values if key != "source" and key not in values["source"]]
        assert unnamed == [] or name == "reference", f"{name}: {unnamed}"


def test_the_shipped_figures() -> None:
    """Those that others published: training times of boards, milliseconds of phones, FedScale's first client."""
    classes = read_table(SHIPPED)
    boards = [classes[name].step_factor for name in ("jetson-tx2", "jetson-nano", "raspberry-pi-4")]
    assert boards == [1, 1.8125, 11.625]
    phones = [classes[name].step_factor or 0 for name in ("phone-fast", "phone-mid", "phone-slow")]
    assert [round(179 * factor) for factor in phones] == [179, 588, 1642]
    client = classes["fedscale-client-1"]
    assert (client.step_seconds, client.up_kbit_s) == (pytest.approx(3 * 32 * 153 / 1000), 2209.61)
    kibibytes = [3285.6857, 4317.6286]
    assert [classes["phone-mid"].up_kbit_s, classes["phone-mid"].down_kbit_s] == [
        pytest.approx(1024 * 8 * each / 1000, abs=1) for each in kibibytes
    ]


ALLOWED = ", ".join(DeviceClass.model_fields)
OK = 'step_factor = 1\nsource = "assumed"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[a]\n{OK}speed = 3", f"a.speed: unknown key; allowed: {ALLOWED}"),
        ("[a]\nstep_factor = 1", "a.source: this key is required"),
        (
            '[a]\nstep_factor = 1\nsource = " "',
            "a.source: must say where the numbers come from, or that they are assumed",
        ),
        ('[a]\nstep_factor = -1\nsource = "x"', "a.step_factor: input should be greater than 0 (got -1)"),
        (f"[a]\n{OK}step_seconds = 1", "a.step_seconds: give either step_seconds or step_factor"),
        ('[a]\nsource = "x"', "a.step_seconds: give either step_seconds or step_factor"),
        (f"[a]\n{OK}up_kbit_s = 0", "a.up_kbit_s: input should be greater than 0 (got 0)"),
        (f"[a]\n{OK}up_kbit_s = inf", "a.up_kbit_s: input should be a finite number (got inf)"),
        (f"[a]\n{OK}latency_s = nan", "a.latency_s: input should be a finite number (got nan)"),
        (f"[a]\n{OK}latency_s = -1", "a.latency_s: input should be greater than or equal to 0 (got -1)"),
        (
            f"[a]\n{OK}online_s = 5",
            "a.offline_s: online_s and offline_s need each other; unset both where it is always online",
        ),
        (f"[a]\n{OK}idle_w = 5", "a.compute_w: idle_w and send_w need it"),
        (f"[a]\n{OK}idle_w = 5\ncompute_w = 4", "a.compute_w: must be at least idle_w = 5.0 (got 4.0)"),
        ("a = 5", "a: should be a section of keys (got 5)"),
        ("", "holds no device class"),
        ("[a", "not valid TOML"),
    ],
)
def test_a_wrong_toml_table(text: str, said: str, tmp_path: Path) -> None:
    refused(write(tmp_path, text), said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,speed,source\na,1,x", f"'speed' is no column; allowed: name, {ALLOWED}"),
        ("step_factor,source\n1,x", "its first row must name the columns, each once, and name among them"),
        ("name,source,source\na,x,x", "its first row must name the columns, each once, and name among them"),
        ("", "its first row must name the columns, each once, and name among them"),
        ("name,step_factor,source", "holds no device class"),
        ("name,step_factor,source\n,1,x", "row 2 has no name"),
        ("name,step_factor,source\na,1,x\nb,1,x,y", "row 3 has 4 cells for 3 columns"),
        ("name,step_factor,source\na,1,x\na,2,x", "a is there twice"),
        ("name,step_factor,source\na,1,", "a.source: this key is required"),
        ("name,step_factor,source\na,fast,x", "a.step_factor: input should be a valid number, unable to parse"),
        ("name,step_factor,source\na,nan,x", "a.step_factor: input should be a finite number"),
        ("name,step_factor,source\na,-2,x", "a.step_factor: input should be greater than 0 (got '-2')"),
    ],
)
def test_a_wrong_csv_table(text: str, said: str, tmp_path: Path) -> None:
    refused(write(tmp_path, text, ".csv"), said)


def refused(path: Path, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"device table {path}: ") + ".*" + re.escape(said)) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_table(tmp_path: Path) -> None:
    for suffix in (".toml", ".csv"):
        refused(tmp_path / f"none{suffix}", "cannot be read (No such file")
    refused(tmp_path / "table.json", "its name must end in .toml or .csv")
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe\x00")
    refused(path, "is UTF-16 text; save it as UTF-8")
