"""Tables for spreadsheets: what is written comes back, runs nothing there, and faults are told with their row."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import put

from looksay.errors import InputError
from looksay.library import tables

CELLS = st.lists(
    st.text(
        st.sampled_from("=+-@'\t\r\n＝,;\"5. a가") | st.characters(exclude_categories=["Cs"]),
        max_size=8,
    ),
    min_size=3,
    max_size=3,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, max_size=4), st.sampled_from(",;\t"))
def test_every_text_comes_back(tmp_path: Path, rows: list[list[str]], delimiter: str) -> None:
    path = put(tmp_path / "t.csv", tables.encoded(["a", "b", "c"], rows, delimiter))
    found = tables.read(path)
    assert (found.columns, found.delimiter) == (["a", "b", "c"], delimiter)
    assert [row.cells for row in found.rows] == rows


@pytest.mark.parametrize("cell", ["=1", "+a", "-a", "@a", "\ta", "'=1", "''=1", "-", "=", "-1-2"])
def test_what_a_spreadsheet_would_run_is_written_as_text(cell: str) -> None:
    assert f"'{cell}".encode() in tables.encoded(["a"], [[cell]])


@pytest.mark.parametrize("cell", ["-1", "+3.5", "-1,000", "'quoted'", "a=b", "", "가"])
def test_anything_else_is_written_as_it_is(cell: str) -> None:
    assert "'" + cell not in tables.encoded(["a"], [[cell]]).decode("utf-8-sig")


def test_rows_are_counted_as_a_spreadsheet_counts_them(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", 'a,b\n"one\ntwo",2\n\nthree\n"four\nfive"x,6\n')
    with pytest.raises(InputError, match=r"t\.csv, row 5 \(line 6\): not valid CSV"):
        tables.read(path)
    put(path, 'a,b\n"one\ntwo",2\n\nthree\n')
    found = tables.read(path)
    assert [(row.number, row.line) for row in found.rows] == [(2, 2), (4, 5)]
    assert found.named(found.rows[1]) == {"a": "three", "b": ""}
    assert tables.read(put(path, "")).columns == []
