"""What the images are known to show."""

import numpy as np
import pytest

from cryoisac.errors import DataError, FormatError
from cryoisac.explore.truth import read_labels


def test_truth_of_a_simulation(finished):
    """Known truth recovered."""
    np.testing.assert_array_equal(read_labels(finished.truth_file, 150), finished.truth.view)


@pytest.mark.parametrize(
    "text", ["image,class\na,3\nb,-1\nc,0\n", "view\n3\n-2\n0\n", "3\n-1\n0\n", "view,class\n3,9\n-1,9\n0,9\n"]
)
def test_tables(tmp_path, text):
    """Definition: a column view, else class, else bare numbers; below 0 is unknown."""
    (tmp_path / "t").write_text(text)
    assert read_labels(tmp_path / "t", 3).tolist() == [3, -1, 0]


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("1\n2\n", DataError, "has 2 rows for 3 particles"),
        ("", DataError, "has 0 rows for 3 particles"),
        ("a\nb\nc\n", FormatError, "holds no labels"),
        ("1 2\n3 4\n5 6\n", FormatError, "holds no labels"),
        ("1\n2.5\n3\n", FormatError, "one whole number a row"),
        ("view\n1\nx\n3\n", FormatError, "holds no labels"),
    ],
)
def test_what_is_no_truth_is_refused(tmp_path, text, error, said):
    """Definition: one sentence each."""
    (tmp_path / "t").write_text(text)
    with pytest.raises(error, match=said) as caught:
        read_labels(tmp_path / "t", 3)
    assert "\n" not in str(caught.value)
