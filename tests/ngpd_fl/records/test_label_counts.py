"""Label counts: what is read is what was written, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ngpd_fl.config import InputError
from ngpd_fl.records.label_counts import read_label_counts, write_label_counts


def test_what_was_written_is_read(tmp_path: Path) -> None:
    counts = np.array([[3, 0], [0, 2**40]])
    write_label_counts(tmp_path / "counts.json", counts)
    np.testing.assert_array_equal(read_label_counts(tmp_path / "counts.json", (2, 1)), counts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "not a table of counts"),
        ("[[1, 2], [3]]", "not a table of counts"),
        ("[[1, 2], [3, -1]]", "not a table of counts"),
        ("[[1, 2], [3, 0.5]]", "not a table of counts"),
        (f"[[1, 2], [3, {2**63}]]", "not a table of counts"),
        ("[[1, 2], [3, 4], [5, 6]]", "3 rows for 2 nodes"),
        (f"[[{2**62}, 0], [0, {2**62}]]", "more examples than can be counted"),
    ],
)
def test_what_is_no_table_of_the_nodes_is_damaged(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(InputError, match=rf"counts\.json: damaged \({problem}\)$"):
        read_label_counts(tmp_path / "counts.json", (2, 1))
