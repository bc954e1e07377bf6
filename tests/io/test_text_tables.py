"""The originals' text tables."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoisac.errors import DataError, FormatError
from cryoisac.io.text_tables import read_integers, read_table, write_table


def test_rows_are_laid_out_as_defined(tmp_path: Path) -> None:
    """Definition: integers of width 12, floats of width 14, exponential where that is closer or the width too small."""
    path = tmp_path / "t.txt"
    write_table(path, [np.array([-91.97419, 0.5376151, 123456789.0]), np.array([1, 0, -1])])
    assert path.read_text() == (
        "      -91.974190             1\n    5.376151e-01             0\n    1.234568e+08            -1\n"
    )


@pytest.mark.parametrize(
    "name", ["all_parameters.txt", "2dalignment/initial2Dparams.txt", "chains_params.txt", "processed_images.txt"]
)
def test_tables_of_the_original_are_written_back_byte_by_byte(shared: Path, tmp_path: Path, name: str) -> None:
    """Independent program: files of the real ISAC2."""
    original = shared / "data" / "eman2" / "isac_tiny" / name
    table = read_table(original)
    whole = {"chains_params.txt": [0, 1, 5], "processed_images.txt": [0]}.get(name, [3])
    columns = [c.astype(np.int64) if i in whole else c for i, c in enumerate(table.T)]
    write_table(tmp_path / "again.txt", columns)
    assert (tmp_path / "again.txt").read_bytes() == original.read_bytes()


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_survive(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    """Known truth: six decimals or seven digits remain, whichever is closer."""
    path = tmp_path_factory.mktemp("t") / "t.txt"
    write_table(path, [np.array(values)])
    # half a unit of the seventh digit is at most 5e-7 of the number
    np.testing.assert_allclose(read_table(path)[:, 0], values, rtol=5.1e-7, atol=5e-7)


def test_reading_is_tolerant_but_not_careless(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("# heading\n\n 1 2.5e-3\tnan\n-inf +4 5 # end\r\n")
    np.testing.assert_array_equal(read_table(path), [[1, 2.5e-3, np.nan], [-np.inf, 4, 5]])
    path.write_text("1 2\n3\n")
    with pytest.raises(FormatError, match="txt:2: has 1 values, 2 expected"):
        read_table(path)
    path.write_text("1 2\n\n3 x\n")
    with pytest.raises(FormatError, match="txt:3: 'x' is not a number"):
        read_table(path)
    path.write_text("1\n2.5\n")
    with pytest.raises(FormatError, match=r"2\.5, not a whole number"):
        read_integers(path)
    path.write_text("")
    assert read_integers(path).shape == (0,)
    with pytest.raises(FormatError, match="cannot be read"):
        read_table(tmp_path / "none.txt")
    with pytest.raises(DataError, match="do not make a table"):
        write_table(path, [np.zeros(2), np.zeros(3)])


def test_own_formats_of_columns(tmp_path: Path) -> None:
    """Definition: printf's, without what goes between columns otherwise."""
    write_table(tmp_path / "t.txt", [np.array([1.5, -2]), np.array([3, 4])], formats=("%8.3f", "%d"))
    assert (tmp_path / "t.txt").read_text() == "   1.5003\n  -2.0004\n"
