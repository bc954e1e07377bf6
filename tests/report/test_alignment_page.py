"""The page of an alignment, and its curves."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cryoisac.report.alignment import write_alignment_report
from cryoisac.report.curves import curves, spark
from cryoisac.settings import Multireference, ReferenceFree, Simulation
from cryoisac.simulation.files import simulate
from cryoisac.workflow.alignment import run_alignment

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))


def test_points_lie_where_their_values_are() -> None:
    """Definition: linear in both axes, what is missing left out, one title a point."""
    picture = drawn(curves([("a", [None, 2.0, 4.0]), ("b", [1.0, 1.0, 1.0])], [1, 2, 3], axis="iteration"))
    dots = [d for d in picture.iter(f"{SVG}circle") if d.get("class") == "dot0"]
    assert [d[0].text for d in dots] == ["2: 2, a", "3: 4, a"]
    others = [float(d.get("cy", 0)) for d in picture.iter(f"{SVG}circle") if d.get("class") == "dot1"]
    heights = [float(d.get("cy", 0)) for d in dots]
    assert others[0] - heights[0] == pytest.approx((others[0] - heights[1]) / 3, abs=0.1)  # tenths of a unit
    assert len([p for p in picture.iter(f"{SVG}path") if "curve" in (p.get("class") or "")]) == 2


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-0.3, 1.0], [1e-9, 2e-9], [1e6, 3.0]])
def test_all_points_lie_inside_the_drawing(values: list[float]) -> None:
    """Invariance: for values of any size, also a single one."""
    picture = drawn(curves([("", values)], list(range(1, len(values) + 1)), axis="iteration", mark=("here", 0.1)))
    _, _, width, height = (float(v) for v in (picture.get("viewBox") or "").split())
    for dot in picture.iter(f"{SVG}circle"):
        assert 0 <= float(dot.get("cx", -1)) <= width
        assert 0 <= float(dot.get("cy", -1)) <= height


def test_a_spark_has_its_ends() -> None:
    """Definition: 1 at the top, 0 and less at the bottom."""
    points = drawn(spark([1.0, 0.5, -0.2]))[0].get("points", "").split()
    assert points == ["0.0,1.0", "50.0,13.0", "100.0,25.0"]
    assert spark([1.0]) == ""


@pytest.mark.parametrize(
    ("settings", "references"),
    [
        (Multireference(radius=8, xr="1", maxit=3, min_size=8), 4),
        (ReferenceFree(radius=8, xr="1", maxit=3), None),
    ],
)
def test_a_page_shows_the_record(tmp_path: Path, settings: Multireference, references: int | None) -> None:
    """Definition: each class or iteration has its picture, each iteration its row; the same page each time."""
    simulate(tmp_path / "p", Simulation(views=3, per_view=15, box=24, pixel_size=12.0, snr=0.5, max_shift=1.0))
    out = tmp_path / "out"
    run_alignment(tmp_path / "p" / "particles.star", out, settings, references=references, threads=2)
    text, record = (out / "report.html").read_text(), json.loads((out / "run.json").read_text())
    tiles = len(record["classes"]) if references else len(record["iterations"])
    assert text.count("<li data-class") == tiles
    assert text.count('src="data:image/png;base64,') == tiles
    for one in record["iterations"]:
        assert f'<tr><th scope="row">{one["iteration"]}</th>' in text
    for name in ("run.json", "classified.star" if references else "aligned.star"):
        assert f"<code>{name}</code>" in text
    assert "--radius" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    write_alignment_report(out, record)
    assert (out / "report.html").read_text() == text
