"""Histograms."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoisac.report.charts import count, histogram, nice_step

FINITE = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


@given(st.lists(FINITE, max_size=60), st.lists(FINITE, max_size=60))
def test_every_value_is_counted_once(one, other):
    """Definition by brute force: the bins of each series hold all its values."""
    bins = count([np.array(one, dtype=float), np.array(other, dtype=float)])
    assert bins.counts.sum(axis=1).tolist() == [len(one), len(other)]
    assert (np.diff(bins.edges) > 0).all()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
def test_whole_numbers_fall_between_edges(values):
    """Definition by brute force: no edge is a whole number, and each bin counts what lies between its edges."""
    bins = count([np.array(values, dtype=float)], whole=True)
    assert np.abs(bins.edges % 1 - 0.5).max() < 1e-9
    for b, (low, high) in enumerate(zip(bins.edges, bins.edges[1:], strict=False)):
        assert bins.counts[0, b] == sum(low < v < high for v in values)


def test_an_edge_separates():
    """Known truth recovered: values on both sides of a threshold never share a bin."""
    rng = np.random.default_rng(0)
    below, above = rng.uniform(0, 0.7, 500), rng.uniform(0.7, 9, 100)
    bins = count([below, above], limit=2.1, edge=0.7)
    assert not (bins.counts[0] * bins.counts[1]).any()
    assert bins.counts.sum(axis=1).tolist() == [500, 100]
    assert bins.edges[-1] == pytest.approx(2.1)


def test_values_that_are_not_finite_are_left_out():
    """Definition: infinite pixel errors and missing scores are not counted."""
    assert count([np.array([1.0, np.inf, np.nan, 2.0])]).counts.sum() == 2
    assert count([np.array([np.inf])]).counts.sum() == 0
    assert count([np.array([5.0, 5.0])]).counts.sum() == 2


@given(st.floats(1e-6, 1e9), st.integers(1, 30))
def test_steps_are_round_and_few(span, steps):
    """Definition: one of 1, 2, 2.5, 5 times a power of ten, covering the span."""
    step = nice_step(span, steps)
    digits = step / 10 ** np.floor(np.log10(step * (1 + 1e-12)))
    assert min(abs(digits - m) for m in (1, 2, 2.5, 5)) < 1e-6
    assert step * steps >= span * (1 - 1e-6)
    assert step <= 2.5 * span / steps * (1 + 1e-6)


def test_drawing_is_well_formed_and_bars_say_what_they_hold():
    """Known truth recovered: bar heights are in proportion to counts, stacked without gaps."""
    bins = count([np.repeat([1.0, 2.0, 3.0], (10, 20, 40)), np.array([3.0] * 40)], whole=True)
    drawn = ElementTree.fromstring(histogram(("a", "<b>"), bins, axis="x & y", of="things", mark=("here", 2.0)))
    bars = drawn.findall("rect")
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert np.array(heights) / heights[0] == pytest.approx([1, 2, 4, 4], abs=0.02)  # tenths of a unit on 17
    assert float(bars[3].attrib["y"]) + heights[3] == pytest.approx(float(bars[2].attrib["y"]), abs=0.051)
    assert bars[3].find("title").text == "2.5 to 3.5: 40 things, <b>"
    assert drawn.find("path[@class='mark']") is not None
