"""ISAC's book-keeping: what is accepted, what comes next, when it ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoisac.cluster import isac
from cryoisac.cluster.generation import Bench, Generation
from cryoisac.comm import Serial
from cryoisac.engine.reference import ReferenceEngine
from cryoisac.model.ledger import REASONS, SMALL_CLASS, UNSTABLE, Ledger
from cryoisac.model.poses import Poses
from cryoisac.settings import Isac

N, K = 60, 4
SETTINGS = Isac(method="isac2", radius=5, img_per_grp=10, minimum_grp_size=5, target_radius=5, target_nx=16)


@pytest.fixture
def bench() -> Bench:
    """A bench with 60 images; their pixels do not matter here."""
    return Bench(
        engine=ReferenceEngine(np.random.default_rng(0).normal(size=(N, 16, 16)).astype(np.float32)),
        make_engine=ReferenceEngine,
        settings=SETTINGS,
        comm=Serial(),
        tick=lambda what: None,
    )


def ended(images: np.ndarray, stable_in: list[int], *, main: int = 1, number: int = 1) -> Generation:
    """Return a generation that ended with so many stable members in each class, the images dealt out in turn."""
    labels = np.arange(len(images)) % len(stable_in)
    stable = np.zeros(len(images), dtype=bool)
    for c, count in enumerate(stable_in):
        stable[np.flatnonzero(labels == c)[:count]] = True
    return Generation(
        main=main,
        number=number,
        round=3,
        images=images,
        references=np.zeros((len(stable_in), 16, 16), dtype=np.float32) + np.arange(len(stable_in))[:, None, None],
        labels=labels,
        poses=Poses.identity(len(images)),
        score=np.zeros(len(images), dtype=np.float32),
        stable=stable,
        pixel_error_px=np.where(stable, 0.3, np.inf),
        agreement=0.9,
        settled=True,
    )


def test_only_classes_with_enough_stable_members_are_accepted(bench: Bench) -> None:
    """Definition: at least minimum_grp_size; members, averages and reasons follow."""
    generation = ended(np.arange(N), [9, 5, 4, 0])
    state = isac.accept(bench, isac.start(bench), generation)
    assert state.averages[:, 0, 0].tolist() == [0, 1]
    assert isac.class_sizes(state).tolist() == [9, 5]
    reason = state.ledger.reason
    assert (reason[state.ledger.label >= 0] == "").all()
    assert (reason == SMALL_CLASS).sum() == 4
    assert (reason == UNSTABLE).sum() == N - 9 - 5 - 4
    state.ledger.counts()


def test_classes_are_numbered_on_from_those_found_before(bench: Bench) -> None:
    """Definition: a class found later has a later number, and no image is in two."""
    state = isac.accept(bench, isac.start(bench), ended(np.arange(N), [9, 5, 4, 0]))
    later = isac.accept(bench, state, ended(state.todo, [6, 0, 0, 0], main=2))
    assert isac.class_sizes(later).tolist() == [9, 5, 6]
    before = state.ledger.label >= 0
    assert np.array_equal(later.ledger.label[before], state.ledger.label[before])


@pytest.mark.parametrize(
    ("stable_in", "expected"),
    [
        ([9, 0, 0, 0], (2, 1, "")),  # something found: all that is left goes into the next main iteration
        ([9, 4, 4, 4, 4, 4], (1, 2, "")),  # 20 stable images in small classes make two classes: next generation
        ([4, 4, 4, 4, 4, 4], (2, 1, "no further class")),  # nothing found at first: the end
        ([10, 10, 10, 10, 10, 10], (2, 1, "Every particle")),
        ([10, 10, 10, 10, 10, 0], (2, 1, "too few")),
    ],
)
def test_what_comes_next(bench: Bench, stable_in: list[int], expected: tuple[int, int, str]) -> None:
    """Definition: next generation, next main iteration, or a reason to stop."""
    state = isac.accept(bench, isac.start(bench), ended(np.arange(N), stable_in))
    main, generation, reason = expected
    assert (state.main, state.generation) == (main, generation)
    assert isac.finished(state) == bool(reason)
    assert reason in state.stopped_because
    if not reason and generation == 1:
        assert np.array_equal(state.todo, state.ledger.left())


@pytest.fixture
def original(bench: Bench) -> Bench:
    """The same bench, by the rules of the original."""
    return replace(bench, settings=replace(SETTINGS, parity="sphire"))


def test_the_original_wants_more_than_the_minimum(original: Bench) -> None:
    """Definition (isac2 §7.1): a class with exactly minimum_grp_size stable members is too small."""
    state = isac.accept(original, isac.start(original), ended(np.arange(N), [9, 6, 5, 0]))
    assert isac.class_sizes(state).tolist() == [9, 6]
    assert (state.ledger.reason == SMALL_CLASS).sum() == 5


@pytest.mark.parametrize(
    ("stable_in", "expected"),
    [
        ([9, 5, 5, 5, 1, 1], (1, 2, "")),  # int(1.2 · 17) = 20: enough, though two classes need 20
        ([9, 5, 5, 5, 1, 0], (2, 1, "")),  # int(1.2 · 16) = 19
        ([10, 10, 10, 10, 0, 0], (2, 1, "left no stable particle")),  # 20 unstable images remain
        ([10, 10, 10, 10, 10, 10], (2, 1, "Every particle")),
        ([4, 4, 0, 0, 0, 0], (2, 1, "no further class")),
    ],
)
def test_what_comes_next_in_the_original(original: Bench, stable_in: list[int], expected: tuple[int, int, str]) -> None:
    """Definition (isac2 §7.2): short generations are played, and the run ends when none is left over."""
    state = isac.accept(original, isac.start(original), ended(np.arange(N), stable_in))
    main, generation, reason = expected
    assert (state.main, state.generation) == (main, generation)
    assert isac.finished(state) == bool(reason)
    assert reason in state.stopped_because


def test_a_run_of_the_original_ended_as_its_rule_says(shared: Path, original: Bench) -> None:
    """Independent program: all ten classes were good, four unstable images remained, and nothing more was written."""
    run = shared / "data" / "eman2" / "isac_tiny"
    processed = len((run / "processed_images.txt").read_text().split())
    assert 0 < 600 - processed < 20  # of 600 images in classes of 60
    assert not (run / "finished").exists()
    assert not (run / "main001" / "finished").exists()
    sizes = [9, 10, 10, 10, 10, 10]
    state = isac.accept(original, isac.start(original), ended(np.arange(N), sizes))
    assert "left no stable particle" in state.stopped_because


def test_unstable_images_get_another_main_iteration_even_if_no_class_was_too_small(bench: Bench) -> None:
    """Definition: the original ends the whole run here, with 20 images that could be tried again."""
    state = isac.accept(bench, isac.start(bench), ended(np.arange(N), [10, 10, 10, 10, 0, 0]))
    assert not isac.finished(state)
    assert len(state.todo) == 20


def test_the_limit_of_main_iterations_stops_after_so_many(bench: Bench) -> None:
    """Definition: the original stops after the first whatever the limit."""
    limited = replace(bench, settings=replace(SETTINGS, main_iter_limit=2))
    state = isac.accept(limited, isac.start(limited), ended(np.arange(N), [9, 0, 0, 0]))
    assert not isac.finished(state)
    state = isac.accept(limited, state, ended(state.todo, [9, 0, 0, 0], main=2))
    assert "limit" in state.stopped_because


@pytest.mark.parametrize(("delta_good", "stops"), [(0, False), (1, False), (2, True)])
def test_few_new_classes_stop_the_run_where_that_is_asked_for(bench: Bench, delta_good: int, stops: bool) -> None:
    """Definition: two classes at first are as good as none if ``delta_good`` is 2; later generations may find fewer."""
    limited = replace(bench, settings=replace(SETTINGS, delta_good=delta_good))
    state = isac.accept(limited, isac.start(limited), ended(np.arange(N), [9, 9, 0, 0]))
    assert isac.finished(state) == stops
    assert ("2 further classes" in state.stopped_because) == stops
    assert ("--delta-good 2" in state.stopped_because) == stops
    assert isac.class_sizes(state).tolist() == [9, 9]
    later = isac.accept(limited, isac.start(limited), ended(np.arange(N), [9, 9, 0, 0], number=2))
    assert not isac.finished(later)


def test_a_ledger_of_used_images_spreads_to_all() -> None:
    """Definition: images that were never used are bad images, and the sums agree."""
    used = Ledger.empty(3).entered(
        np.arange(3), poses=Poses.identity(3), label=np.array([0, -1, 1]), reason=np.array(["", UNSTABLE, ""])
    )
    whole = used.spread(np.array([1, 2, 4]), 6)
    assert whole.label.tolist() == [-1, 0, -1, -1, 1, -1]
    assert whole.counts() == dict.fromkeys(REASONS, 0) | {"unstable": 1, "bad_image": 3}
