"""The page of a finished run."""

import base64
import json
import re
from io import BytesIO

import mrcfile
import numpy as np
import PIL.Image
import pytest

from cryoisac.errors import RunError
from cryoisac.report.html import write_report
from tests.pages import Page


def page_of(path) -> Page:
    return Page(write_report(path).read_text(encoding="utf-8"))


def test_well_formed_with_names_for_everything(make_run):
    """Definition: elements nest; pictures, buttons and fields have names; ids are unique."""
    page = page_of(make_run())
    assert all(image.get("alt") is not None for image in page.every("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.every("svg"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.every("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.elements].count("h1") == 1


def test_needs_no_other_file_and_no_network(make_run):
    """Definition: whatever is referred to is inside the page."""
    text = write_report(make_run()).read_text(encoding="utf-8")
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not list(page.every("link"))
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|//cdn", text)


def test_same_run_same_bytes_wherever_it_lies(make_run):
    """Invariance: neither the time nor the directory is in the page."""
    one, other = make_run("one"), make_run("another")
    first = write_report(one).read_bytes()
    assert first == write_report(other).read_bytes()
    assert first == write_report(one).read_bytes()
    assert str(one).encode() not in first
    assert b"/somewhere/private" not in first


def test_record_given_or_read(make_run):
    """Invariance: a record handed over gives the page that the same record read gives."""
    path = make_run()
    record = json.loads((path / "run.json").read_text())
    read = write_report(path).read_bytes()
    (path / "run.json").unlink()
    assert write_report(path, record).read_bytes() == read


def test_numbers_are_those_of_the_run(make_run):
    """Known truth recovered: what the made-up run says stands on the page."""
    text = page_of(make_run()).text
    for said in ("87 of 100 particles lie in 3 stable classes", "87.0 %", "0.25 px", "1.0 Å"):
        assert said in text
    assert "cryoisac 9.8.7" in text
    assert "cuda:0 (Some GPU)" in text
    for reason, number in (("pose differed", 7), ("too few stable members", 3), ("never reached", 2), ("constant", 1)):
        assert re.search(rf"{reason}[^0-9]*{number} {number}\.0 %", text)
    assert "Two optics groups have the same name." in text
    assert "Main iteration 1 found no further class" in text
    assert "Each box is 80 Å (20 px) wide" in text
    assert re.search(r"--thld-err Pixel error below which a member is stable\. 1\.4 working px given", text)
    assert re.search(r"--radius Particle radius in the input images\. 27 px automatic: estimated from 100 images", text)


def test_sheet_sorts_by_size_and_knows_the_other_orders(make_run):
    """Known truth recovered: largest class first; positions and pixel errors as in the record."""
    tiles = [t for t in page_of(make_run()).every("li") if "data-class" in t]
    assert [t["data-class"] for t in tiles] == ["3", "1", "2"]
    assert [t["data-members"] for t in tiles] == ["45", "30", "12"]
    assert [t["data-order"] for t in tiles] == ["1", "2", "0"]
    assert [float(t["data-error"]) for t in tiles] == pytest.approx([0.3, 0.5, 0.4])


def test_turned_averages_stand_by_their_class(make_run):
    """Known truth recovered: the made-up ordered averages are the plain ones upside down."""

    def decode(image: dict) -> np.ndarray:
        return np.asarray(PIL.Image.open(BytesIO(base64.b64decode(image["src"].split(",")[1])))) / 255.0

    images = [i for i in page_of(make_run()).every("img") if "src" in i]
    assert [i["class"] for i in images] == ["plain", "laid"] * 3
    for plain, laid in zip(images[::2], images[1::2], strict=True):
        assert (decode(plain)[::-1] == decode(laid)).all()


def test_without_ordering(make_run):
    """Definition: where ordering was skipped, there is nothing to sort by."""
    path = make_run(ordered=[])
    (path / "ordered_class_averages.mrcs").unlink()
    page = page_of(path)
    assert [i["value"] for i in page.every("input") if i.get("name") == "sort"] == ["members", "error"]
    assert "laid" not in [i.get("class") for i in page.every("img")]


def test_no_classes_says_what_to_try(make_run):
    """Definition: a run without classes has a page that helps."""
    text = page_of(make_run(sizes=())).text
    assert "None of 13 particles found a stable class" in text
    for flag in ("--img-per-grp 30", "--thld-err 1.4", "--minimum-grp-size 10", "--radius 27", "--ctf no"):
        assert flag in text
    assert "no members" in text


def test_a_run_by_likelihood_tells_its_starts_and_changes(make_likelihood_run):
    """Known truth recovered: starts by their evidence, changes by their gains; no word of generations."""
    text = page_of(make_likelihood_run()).text
    for said in (
        "87 of 100 particles lie in 3 classes.",
        "1 3 1,345 2 4 went on 3 5 2,345",
        "Splits after the best start: 2; merges: 1.",
        "merge 40 25 1,234 500 2.5",
        "gain in log-likelihood over no particle (natural units)",
        "share of its fellows that a particle keeps in other starts",
        "--max-shift",
    ):
        assert said in text
    for other in ("eneration", "main iteration", "--xr", "correlation"):
        assert other not in text


def test_a_run_of_the_original_method_tells_its_generations(make_run):
    """Definition: no word of starts, splits and merges, nor of what is not known."""
    text = page_of(make_run()).text
    for said in ("Generations", "stable classes", "correlation with the class"):
        assert said in text
    for other in ("Starts", "Splits", "natural units", "fellows", "--max-shift"):
        assert other not in text


def test_many_changes_are_folded_away(make_likelihood_run):
    """Definition: a short list stands open, a long one does not; none is no table."""
    assert "details" not in [tag for tag, _ in page_of(make_likelihood_run(12, name="few")).elements]
    assert "details" in [tag for tag, _ in page_of(make_likelihood_run(13, name="many")).elements]
    assert "Members of one part" not in page_of(make_likelihood_run(0, name="none")).text


def test_ambiguous_particles_have_rivals(make_likelihood_run):
    """Definition: where there are such, the page says where their other class is told."""
    path = make_likelihood_run()
    assert "rival" not in page_of(path).text
    record = json.loads((path / "run.json").read_text())
    record["counts"]["by_reason"]["ambiguous"] = record["counts"]["by_reason"].pop("unstable")
    (path / "run.json").write_text(json.dumps(record))
    text = page_of(path).text
    assert "two classes explain it equally well 7" in text
    assert "rival of ledger.csv names the second best class" in text


def test_a_class_of_unknown_pixel_error_stands_last(make_likelihood_run):
    """Definition: what no repeated alignment has told is no number."""
    path = make_likelihood_run()
    record = json.loads((path / "run.json").read_text())
    for c in (1, 2, 0):
        assert "Pixel errors of classes" in page_of(path).text
        record["classes"][c]["pixel_error_px"] = None
        (path / "run.json").write_text(json.dumps(record))
    page = page_of(path)
    assert "Pixel errors of classes" not in page.text
    record["classes"][1]["pixel_error_px"] = record["classes"][2]["pixel_error_px"] = 0.5
    (path / "run.json").write_text(json.dumps(record))
    page = page_of(path)
    assert "unknown" in page.text
    errors = {t["data-class"]: float(t["data-error"]) for t in page.every("li") if "data-class" in t}
    assert max(errors, key=errors.get) == "1"


def test_no_classes_by_likelihood_says_what_to_try(make_likelihood_run):
    """Definition: the options named are those that the method has."""
    text = page_of(make_likelihood_run(sizes=())).text
    assert "None of 13 particles is explained by a class" in text
    assert "--max-shift 4.5" in text
    assert "--xr" not in text


def test_unknown_pixel_size(make_run):
    """Definition: without a pixel size lengths stand in pixels only."""
    path = make_run()
    record = json.loads((path / "run.json").read_text())
    record["input"]["pixel_size_A"] = record["derived"]["working_pixel_size_A"] = None
    (path / "run.json").write_text(json.dumps(record))
    text = page_of(path).text
    assert "Å" not in text
    assert "pixel size unknown" in text


def test_words_from_outside_stay_words(make_run):
    """Invariance: markup in names and sentences is shown, never obeyed."""
    evil = '<script>alert("x")</script>&$title'
    path = make_run(warnings=[evil], stopped_because=evil)
    record = json.loads((path / "run.json").read_text())
    record["input"]["path"] = "/a/<b>$heading.star"
    (path / "run.json").write_text(json.dumps(record))
    page = page_of(path)
    assert len(list(page.every("script"))) == 1
    assert page.text.count(evil) == 2
    assert "<b>$heading.star" in page.text


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: (p / "run.json").unlink(), "no run.json"),
        (lambda p: (p / "run.json").write_text("{"), "damaged"),
        (lambda p: (p / "run.json").write_text('{"status": "running"}'), "not finished"),
        (lambda p: (p / "ledger.csv").unlink(), "no ledger.csv"),
        (lambda p: (p / "ledger.csv").write_text("index,class\n0,1\n"), r"ledger\.csv is damaged"),
        (lambda p: (p / "ledger.csv").write_text((p / "ledger.csv").read_text()[:-30].rsplit("\n", 1)[0]), "disagree"),
        (lambda p: (p / "class_averages.mrcs").unlink(), r"no class_averages\.mrcs"),
        (lambda p: (p / "class_averages.mrcs").write_bytes((p / "one.mrcs").read_bytes()), "1 images for 3 classes"),
    ],
)
def test_unfinished_or_damaged_runs_are_refused(make_run, spoil, says):
    """Definition: a page is never made of files that do not belong together."""
    path = make_run()
    mrcfile.write(path / "one.mrcs", np.zeros((1, 20, 20), dtype=np.float32))
    spoil(path)
    with pytest.raises(RunError, match=says):
        write_report(path)
    assert not (path / "report.html").exists()
