"""Drawings and colours."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from cryoisac.explore.colours import FEW, colours
from cryoisac.explore.figures import Plane, centres, class_sizes, dot_size, hexagons, scatter, spectrum


def svg(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def titles(text: str) -> list[str]:
    return [e.text or "" for e in svg(text).iter("title")]


def test_a_bar_for_each_class():
    """Definition: number, members and height of each, in its colour."""
    drawn = class_sizes(np.array([1, 2, 5]), np.array([40, 20, 10]), ["#000001", "#000002", "#000003"])
    assert titles(drawn) == ["class 1: 40 members", "class 2: 20 members", "class 5: 10 members"]
    bars = [e for e in svg(drawn).iter("rect")]
    heights = np.array([float(b.get("height")) for b in bars])
    np.testing.assert_allclose(heights / heights[0], [1, 0.5, 0.25], atol=0.01)
    assert [b.get("style") for b in bars] == ["fill:#000001", "fill:#000002", "fill:#000003"]


@pytest.mark.parametrize("k", [1, 60, 400])
def test_bars_of_many_classes_stay_inside(k):
    """Invariance: they share the width, and a few of them are named."""
    drawn = class_sizes(np.arange(1, k + 1), np.full(k, 7), colours(k))
    ends = [float(b.get("x")) + float(b.get("width")) for b in svg(drawn).iter("rect")]
    assert max(ends) <= 440 - 24 + 0.01
    assert len([e for e in svg(drawn).iter("text")]) < 25


def test_hexagons_count_every_point_at_its_nearest_site():
    """Definition by brute force: of all sites of the lattice the nearest one."""
    points = np.random.default_rng(0).uniform(-3, 3, (200, 2))
    middles, counts = hexagons(points, 3.0, across=7)
    wide = 6 / 7
    rows = [(i * wide, j * wide * np.sqrt(3)) for i in range(-8, 9) for j in range(-8, 9)]
    sites = np.array(rows + [(x + wide / 2, y + wide * np.sqrt(3) / 2) for x, y in rows])
    nearest = ((points[:, None] - sites) ** 2).sum(axis=-1).argmin(axis=1)
    found, expected = np.unique(nearest, return_counts=True)
    order = np.lexsort((sites[found, 1], sites[found, 0]))
    own = np.lexsort((middles[:, 1], middles[:, 0]))
    np.testing.assert_allclose(middles[own], sites[found][order], atol=1e-9)
    assert counts[own].tolist() == expected[order].tolist()


def test_centres_say_what_they_leave_out():
    """Known truth recovered: all particles but one far off are counted."""
    offsets = np.random.default_rng(0).normal(size=(1000, 2))
    offsets[17] = 500, 0
    drawn = centres(offsets)
    counted = sum(int(re.search(r"px: ([\d,]+)", t)[1].replace(",", "")) for t in titles(drawn))
    outside = int(re.search(r"; (\d+) further out", "".join(svg(drawn).itertext()))[1])
    assert counted + outside == 1000
    assert 1 <= outside <= 10
    assert "further" not in centres(np.zeros((5, 2)))


def test_spectrum_names_each_share():
    """Definition: one dot a component and series."""
    drawn = spectrum([("aligned", np.array([0.5, 0.25])), ("as given", np.array([0.1]))])
    assert titles(drawn) == [
        "component 1, aligned: 50.00 %",
        "component 2, aligned: 25.00 %",
        "component 1, as given: 10.00 %",
    ]
    svg(spectrum([("none", np.zeros(0))]))


def test_a_dot_for_each_point_where_the_plane_puts_it():
    """Definition: dots by label; scale, left and top carry points to dots, as the page's script does it."""
    rng = np.random.default_rng(0)
    points, label = rng.normal(size=(30, 2)) * (9, 2) + 40, rng.integers(-1, 3, 30)
    drawn = svg(scatter("points", points, [("class", label, ["#010101", "#020202", "#030303"])]))
    scale, left, top = (float(drawn.get(f"data-{name}")) for name in ("scale", "left", "top"))
    assert min(points[:, 1].min(), 0) == 0 or scale > 0
    for path in drawn.iter("path"):
        value = int(path.get("data-label"))
        dots = np.array([[float(v) for v in dot.split()] for dot in re.findall(r"M([^h]+)h0", path.get("d"))])
        mine = points[label == value]
        np.testing.assert_allclose(dots, np.stack((left + scale * mine[:, 0], top - scale * mine[:, 1]), -1), atol=0.11)
        assert (dots >= 0).all()
        assert (dots <= 600).all()
        assert path.get("style") == (f"stroke:#0{value + 1}0{value + 1}0{value + 1}" if value >= 0 else None)
    assert sum(path.get("d").count("M") for path in drawn.iter("path")) == 30


def test_points_at_one_place_can_be_drawn():
    """Definition."""
    assert np.isfinite(Plane.of(np.ones((4, 2)))(np.ones((4, 2)))).all()
    assert dot_size(3) > dot_size(5000) > 3


@pytest.mark.parametrize("k", [1, 8, 9, 25, 60, 300])
def test_colours_differ(k):
    """Definition: as many as classes, all different, in the order of hue where there are many."""
    found = colours(k)
    assert len(found) == k
    assert len(set(found)) == k
    assert all(re.fullmatch("#[0-9a-f]{6}", c) for c in found)
    assert k > 8 or found == list(FEW[:k])


def lightness(colour: str) -> float:
    """Relative luminance, by WCAG's formula."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("k", [9, 25, 60])
def test_neighbouring_classes_differ_in_lightness_too(k):
    """Definition: who sees no hue tells neighbours apart, by a contrast of at least 1.25."""
    light = np.array([lightness(c) for c in colours(k)]) + 0.05
    ratio = light[1:] / light[:-1]
    assert np.maximum(ratio, 1 / ratio).min() > 1.25


@pytest.mark.parametrize("k", [8, 60])
def test_colours_show_on_light_and_dark_ground(k):
    """Definition: a contrast of at least 1.7 to either ground of the page's cards."""
    for ground in ("#ffffff", "#1c2226"):
        there = lightness(ground) + 0.05
        contrast = [max(there, lightness(c) + 0.05) / min(there, lightness(c) + 0.05) for c in colours(k)]
        assert min(contrast) > 1.7
