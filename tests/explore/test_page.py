"""The page of an exploration, and the files beside it."""

import base64
import csv
import json
import re
from dataclasses import replace
from io import BytesIO

import mrcfile
import numpy as np
import PIL.Image
import pytest

from cryoisac.explore import files
from cryoisac.explore.page import FILES, render
from cryoisac.explore.source import read_input
from cryoisac.explore.study import explore
from cryoisac.report.pictures import to_gray
from tests.pages import Page

from .conftest import SMALL


@pytest.fixture(scope="module")
def written(studied, tmp_path_factory):
    """Where everything was written."""
    folder = tmp_path_factory.mktemp("out")
    files.write(studied, folder)
    return folder


@pytest.fixture(scope="module")
def text(written) -> str:
    return (written / "explore.html").read_text(encoding="utf-8")


def rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def data(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def picture(address: str) -> np.ndarray:
    return np.asarray(PIL.Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("L"))


def test_well_formed_with_names_for_everything(text):
    """Definition: elements nest; pictures, drawings and buttons have names; ids are unique."""
    page = Page(text)
    assert all(image.get("alt") is not None for image in page.every("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.every("svg"))
    assert all(button.get("aria-label") for button in page.every("button"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in page.elements].count("h1") == 1


def test_needs_no_other_file_and_no_network(text):
    """Definition: whatever is referred to is inside the page."""
    for _, attributes in Page(text).elements:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|//cdn", text)


def test_same_study_same_bytes(studied, written, tmp_path):
    """Invariance: neither the time nor a directory is in the files."""
    files.write(studied, tmp_path)
    place = str(studied.input.particles.path.parent).encode()
    assert {p.name for p in written.iterdir()} == {*FILES, "explore.html"}
    for path in written.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
        assert place not in path.read_bytes()


def test_the_data_of_the_page_are_those_of_the_table(text, written, studied):
    """Definition: particles, classes and points, to the last decimal that is written."""
    known, table = data(text), rows(written / "embedding.csv")
    assert len(table) == len(studied.points)
    assert [int(r["index"]) for r in table] == known["index"]
    assert [int(r["class"]) for r in table] == [known["number"][c] for c in known["label"]]
    for key in ("before", "after"):
        points = [[float(r[f"x_{key}"]), float(r[f"y_{key}"])] for r in table]
        assert points == known[key]
        np.testing.assert_allclose(points, getattr(studied, key).points, atol=5.1e-5)


def test_truth_is_in_the_page(text, finished):
    """Known truth recovered."""
    known = data(text)
    assert known["truth"] == finished.truth.view[known["index"]].tolist()
    assert "Purity: share that shows the commonest view of its class 1.000" in Page(text).text
    assert [i["value"] for i in Page(text).every("input")] == ["class", "truth", "none"]


def test_labels_of_a_truth_may_be_any_numbers(studied):
    """Invariance: views called 7, 5000 and 90000 are drawn as those called 0, 1 and 2; unknown ones in no colour."""
    given = studied.input
    truth = np.array([7, 5000, 90000])[given.truth]
    truth[given.index[:4]] = -1
    text = render(replace(studied, input=replace(given, truth=truth)))
    known, page = data(text), Page(text)
    assert known["truth"][4:8] == truth[given.index[4:8]].tolist()
    assert known["view"] == [-1] * 4 + given.truth[given.index[4:]].tolist()
    assert len(known["colours"]["truth"]) == 3
    paths = [p for p in page.every("path") if "data-label" in p]
    assert [p["data-label"] for p in paths] == [*"012", "-1", *"012"] * 2
    assert [p.get("style") for p in paths if p["data-label"] == "-1"] == [None, None]


def test_the_six_figures_are_there(text, studied):
    """Definition: first images, class sizes, poses, points before and after, in colours of classes."""
    page = Page(text)
    firsts = [i["alt"] for i in page.every("img") if i["alt"].startswith("Particle ")]
    assert firsts == [f"Particle {i}, {kind}" for kind in ("as given", "aligned") for i in range(1, 21)]
    labels = [svg["aria-label"] for svg in page.every("svg")]
    for begin in ("Bars: members of 3 classes", "Histogram: rotation", "Centres of 149", "Histogram: mean of the two"):
        assert any(label.startswith(begin) for label in labels), begin
    assert [label for label in labels if "points" in label] == ["149 points, as given", "149 points, aligned"]
    paths = [p for p in page.every("path") if "data-label" in p]
    assert len(paths) == 2 * (3 + 3)  # two planes, coloured by three classes and three views
    assert sum(p["d"].count("M") for p in paths) == 2 * 2 * 149


def test_pictures_on_the_sheets_are_those_of_the_points(text, studied):
    """Definition: picture i at row i // ceil(sqrt(m)), where the script looks for it; sixteen grays."""
    page, known = Page(text), data(text)
    side, across = known["picture"], int(np.ceil(np.sqrt(len(known["index"]))))
    for key, small in (("before", studied.laid.small_before), ("after", studied.laid.small_after)):
        sheet = picture(next(i["src"] for i in page.every("img") if i.get("id") == f"sheet-{key}"))
        for i in (0, 1, across, len(small) - 1):
            y, x = divmod(i, across)
            found = sheet[y * side : (y + 1) * side, x * side : (x + 1) * side].astype(int)
            assert np.abs(found - to_gray(small[i : i + 1])[0]).max() <= 8  # half of a step between sixteen grays


def test_a_button_for_each_class(text):
    """Definition: number, members, its colour, its average; none pressed at first."""
    page, known = Page(text), data(text)
    buttons = page.every("button")
    assert [b["aria-label"] for b in buttons] == [
        f"Class {n}, {size} members" for n, size in zip(known["number"], known["sizes"], strict=True)
    ]
    assert [b["style"] for b in buttons] == [f"--of:{c}" for c in known["colours"]["class"]]
    assert {b["aria-pressed"] for b in buttons} == {"false"}


def test_spectrum_and_eigenimages(written, studied):
    """Definition: variance and share of each component; orthonormal images, of the shrunk pixel size."""
    table = rows(written / "spectrum.csv")
    for key in ("before", "after"):
        space = getattr(studied, key).space
        np.testing.assert_allclose([float(r[f"variance_{key}"]) for r in table], space.variance, rtol=1e-7)
        np.testing.assert_allclose([float(r[f"share_{key}"]) for r in table], space.share, rtol=1e-7)
    with mrcfile.open(written / "eigenimages.mrcs") as stack:
        flat = stack.data.reshape(SMALL.n_components, -1).astype(np.float64)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-5)
    with mrcfile.open(written / "mean_images.mrcs") as stack:
        np.testing.assert_allclose(stack.data[1], np.asarray(studied.after.space.mean), atol=1e-5)


def test_record(written, studied):
    """Definition: the numbers of the page, for programs."""
    said = json.loads((written / "explore.json").read_text())
    assert said["counts"] == {"images": 150, "members": 149, "classes": 3, "points": 149}
    assert said["classification"] == "isac2"
    assert said["particles"] == "particles.star"
    assert said["settings"]["radius"] == 20
    assert said["settings"]["ctf"] is True
    assert said["nearest_of_same_class"]["after"]["by_components"] == studied.after.alike_scores
    assert said["truth"]["ari"] == 1


def test_without_truth_ctf_and_many_components(finished, tmp_path):
    """Definition: what is not known is left out, and the page is whole."""
    settings = replace(SMALL, n_components=2, sample=10)
    given = read_input(finished.run, settings, stack=finished.particles)
    given = replace(given, particles=replace(given.particles, ctf=None))
    text = files.write(explore(given, settings, tmp_path), tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert "Agreement with the truth" not in page.text
    assert "Defocus" not in page.text
    assert "the first two components" in page.text
    assert [i["value"] for i in page.every("input")] == ["class", "none"]
    assert json.loads((tmp_path / "explore.json").read_text())["truth"] is None
