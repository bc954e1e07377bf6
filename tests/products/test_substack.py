"""Substacks: poses against the truth and against the original's averages, and what every option does."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoisac.errors import CryoisacError, DataError, RunError, SettingError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_stack import HdfStack
from cryoisac.io.mrc_write import write_mrc_stack
from cryoisac.io.registry import read_particles
from cryoisac.io.star import read_star, write_star
from cryoisac.model.poses import Poses, pixel_error
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.classification import read_classification
from cryoisac.products.substack import make_substack
from cryoisac.run.directory import fingerprint
from cryoisac.scoring.alignment import alignment_errors
from cryoisac.scoring.files import read_classification as read_found
from cryoisac.scoring.files import read_truth
from cryoisac.settings import Substack
from tests.io.berkeley import database, header
from tests.products.test_classification import averaging_run, matrix, pulled

SIDE, RADIUS = 90, 27


@pytest.fixture(scope="module")
def stand_ins(golden_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 images for the original's run: members of classes 2, 6 and 9 made of their averages, the others blank."""
    found = read_classification(golden_run)
    first = np.loadtxt(golden_run / "2dalignment" / "initial2Dparams.txt")
    then = np.loadtxt(golden_run / "all_parameters.txt")
    averages = HdfStack(found.averages).read(np.arange(10)).astype(np.float64)
    zoom = np.diag([1.07407, 1.07407, 1])
    images = np.zeros((600, SIDE, SIDE), dtype=np.float32)
    for c in (1, 5, 8):
        for i in found.members[c]:
            images[i] = pulled(averages[c], matrix(then[i]) @ zoom @ matrix(first[i]), SIDE)
    path = tmp_path_factory.mktemp("stand_ins") / "particles.mrcs"
    write_mrc_stack(path, images, 2.5)
    return path


def chosen_averages(run: Path, path: Path, classes: list[int]) -> Path:
    """Write some averages, with their members alone, as another program leaves them."""
    whole = read_classification(run)
    headers = [{"members": whole.members[c - 1].astype(np.int32)} for c in classes]
    write_hdf_stack(path, HdfStack(whole.averages).read(np.array(classes) - 1), None, headers)
    return path


class TestOfTheOriginalsRun:
    def test_averages_come_back_from_the_headers(self, golden_run: Path, stand_ins: Path, tmp_path: Path) -> None:
        """Known truth: images made of three averages, laid together by xform.align2d of the stack that is written."""
        averages = chosen_averages(golden_run, tmp_path / "good.hdf", [9, 2, 6])
        made = make_substack(golden_run, tmp_path / "out", Substack(hdf=True), stack=stand_ins, averages=averages)
        assert (made.images, made.accounted, made.averages, made.given, made.taken) == (600, 596, 10, 3, 3)
        assert made.hdf is not None
        written = read_particles(made.hdf)
        number = np.asarray(written.attributes["ISAC_class_id"])
        pixels, poses = written.read(np.arange(len(written))), Poses.from_rows(written.attributes["xform.align2d"])
        truth = HdfStack(golden_run / "class_averages.hdf").read(np.arange(10)).astype(np.float64)
        y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
        disc = x**2 + y**2 < (RADIUS - 2) ** 2
        for c in (1, 5, 8):
            back = rotate_shift(pixels[number == c], poses[number == c], method="cubic").mean(axis=0)
            wanted = pulled(truth[c], np.diag([1.07407, 1.07407, 1]), SIDE)
            # interpolations cost 0.0002; poses without the ratio cost 0.0004 or more
            assert np.corrcoef(back[disc], wanted[disc])[0, 1] > 0.9997
        assert set(number.tolist()) == {1, 5, 8}
        assert written.pixel_size_A is not None
        assert written.pixel_size_A[0] == 2.5

    def test_the_originals_tables(self, golden_run: Path, stand_ins: Path, tmp_path: Path) -> None:
        """Definition: the layouts of the original's programs, with all classes."""
        found = read_classification(golden_run)
        made = make_substack(golden_run, tmp_path / "out", stack=stand_ins)
        out = tmp_path / "out"
        ids = np.loadtxt(out / "substack_particle_id_list.txt", dtype=int)
        assert np.array_equal(ids, np.loadtxt(golden_run / "processed_images.txt", dtype=int))
        scaled = np.loadtxt(out / "scaled_all_parameters.txt")
        assert np.allclose(scaled[found.accounted], found.poses[found.accounted].rows(), atol=1e-6)
        assert np.array_equal(scaled[~found.accounted], np.tile([0, 0, 0, -1.0], (4, 1)))
        composed = np.loadtxt(out / "init_isac_params.txt")
        assert np.array_equal(composed[:, 0], ids)
        assert np.allclose(composed[:, 1:5], scaled[ids], atol=1e-6)
        assert np.array_equal(composed[:, 5], np.ones(len(ids)))
        pairs = np.loadtxt(out / "particle_membership.txt", dtype=int)
        for c, own in enumerate(found.members):
            assert np.array_equal(pairs[pairs[:, 1] == c, 0], own)
            table = np.loadtxt(out / "params_avg" / f"params_avg_{c:03d}.txt")
            assert np.allclose(table, np.column_stack((found.poses[own].rows(), np.ones(len(own)))), atol=1e-6)
        assert made.hdf is None
        assert not list(out.glob("*.hdf"))
        # the formats of the original's header export
        line = (out / "substack_header_align2d.txt").read_text().splitlines()[0]
        angle, x, y, mirror = scaled[ids[0]]
        assert line == f"{angle:16.6f}{x:16.6f}{y:16.6f}{int(mirror):10d}{1.0:10.3f}"
        assert len((out / "substack_header_projection.txt").read_text().splitlines()[0]) == 5 * 16

    def test_its_particles_must_be_given(self, golden_run: Path, tmp_path: Path) -> None:
        """Definition: the original does not say which they were."""
        with pytest.raises(RunError, match="--stack"):
            make_substack(golden_run, tmp_path / "out")


class TestOfOurRuns:
    @pytest.fixture
    def made(self, finished: Path, tmp_path: Path) -> Path:
        make_substack(finished, tmp_path / "out", Substack(hdf=True))
        return tmp_path / "out"

    def test_poses_are_true(self, finished: Path, made: Path, particles: Path) -> None:
        """Known truth: after one rigid motion a class, as simulated."""
        truth = read_truth(particles.with_name("truth.csv"))
        found = read_found(made / "substack.star", truth)
        assert found.poses is not None
        errors = []
        for c in np.unique(found.label[found.label >= 0]):
            members = np.flatnonzero(found.label == c)
            view = np.bincount(truth.view[members]).argmax()
            right = members[truth.view[members] == view]
            errors.append(alignment_errors(found.poses[right], truth.poses[right], radius_px=12))
        rotation = np.concatenate([e.rotation_deg for e in errors])
        shift = np.concatenate([e.shift_px for e in errors])
        # found without the ratio of 10 / 12, shifts would be wrong by 0.13 px by likelihood, and 0.30 px with isac2
        assert np.nanmedian(shift) < {"likelihood": 0.1, "isac2": 0.25}[finished.name]
        assert np.nanmedian(rotation) < 1  # a degree is 0.2 px at the radius
        assert np.mean(np.concatenate([e.mirror_right for e in errors])) > 0.95

    def test_headers_and_table_hold_the_same(self, made: Path) -> None:
        """Independent route: poses through EMAN2's matrices, and through RELION's columns."""
        written, table = read_particles(made / "substack.hdf"), read_particles(made / "substack.star")
        assert table.metadata is not None
        columns = table.metadata.particles
        assert np.array_equal(written.attributes["ISAC_class_id"], columns.integers("rlnClassNumber") - 1)
        rows = np.asarray(written.attributes["xform.align2d"])
        listed = np.loadtxt(made / "substack_header_align2d.txt")
        # float32 in the headers, six decimals in the list
        assert pixel_error(Poses.from_rows(rows), Poses.from_rows(listed[:, :4]), radius_px=12).max() < 1e-4
        assert np.array_equal(written.read(np.arange(9)), table.read(np.arange(9)))
        assert written.ctf is not None
        assert table.ctf is not None
        for mine, its in zip(written.ctf.to_relion(), table.ctf.to_relion(), strict=True):
            assert np.allclose(mine, its, rtol=1e-9, atol=1e-3)
        ids = np.loadtxt(made / "substack_particle_id_list.txt", dtype=int)
        assert np.array_equal(written.attributes["source_n"], ids)
        assert written.attributes["ptcl_source_image"] == columns.texts("rlnMicrographName")

    def test_each_image_keeps_its_pixel_size(self, finished: Path, particles: Path, tmp_path: Path) -> None:
        """Known truth: images of two optics groups."""
        metadata = read_star(particles)
        assert metadata.optics is not None
        optics = metadata.optics.take(np.array([0, 0]))
        optics = optics.with_column("rlnOpticsGroup", np.array([1, 2]))
        optics = optics.with_column("rlnImagePixelSize", np.array([10.0, 11.5]))
        table = metadata.particles.with_column("rlnOpticsGroup", 1 + np.arange(100) % 2)
        mixed = replace(metadata, particles=table, optics=optics)
        write_star(tmp_path / "mixed.star", mixed, image_root=particles.parent)
        made = make_substack(finished, tmp_path / "out", Substack(hdf=True), stack=tmp_path / "mixed.star")
        assert made.hdf is not None
        stack = HdfStack(made.hdf)
        for axis in "xyz":
            sizes = np.where(np.array(stack.column("source_n")) % 2, 11.5, 10.0)
            assert np.array_equal(stack.column(f"apix_{axis}"), sizes)

    def test_angles_of_projections_are_relions(self, made: Path) -> None:
        """Definition: Euler matrices Rz(psi) Ry(tilt) Rz(rot) of the table and of xform.projection are one."""
        columns = read_star(made / "substack.star").particles
        written = HdfStack(made / "substack.hdf").column("xform.projection")
        euler = [np.deg2rad(columns.floats(f"rlnAngle{name}")) for name in ("Psi", "Tilt", "Rot")]
        origin_px = np.stack([columns.floats(f"rlnOrigin{axis}Angst") / 10 for axis in "XY"], axis=1)
        assert {0.0, 180.0} == set(columns.floats("rlnAngleTilt").tolist())
        for j, transform in enumerate(written):
            psi, tilt, rot = (angle[j] for angle in euler)
            expected = about_z(psi) @ about_y(tilt) @ about_z(rot)
            assert np.allclose(transform.matrix[:, :3], expected, atol=1e-6)
            assert np.allclose(transform.matrix[:2, 3], -origin_px[j], atol=1e-5)

    def test_every_input_column_is_kept(self, made: Path, particles: Path) -> None:
        """Known truth: the rows of the input."""
        before, after = read_star(particles).particles, read_star(made / "substack.star").particles
        ids = np.loadtxt(made / "substack_particle_id_list.txt", dtype=int)
        for name, column in before.columns.items():
            assert np.array_equal(after.columns[name], column[ids])

    def test_a_subset_keeps_its_numbers(self, finished: Path, tmp_path: Path) -> None:
        """Known truth: two averages in another order, as sorted by another program."""
        averages = chosen_averages(finished, tmp_path / "good.hdf", [4, 2])
        made = make_substack(finished, tmp_path / "out", averages=averages)
        number = read_star(made.star).particles.integers("rlnClassNumber")
        whole = read_classification(finished)
        assert [(number == c).sum() for c in (2, 4)] == whole.size[[1, 3]].tolist()
        assert set(number.tolist()) == {2, 4}
        assert sorted(p.name for p in (tmp_path / "out" / "params_avg").iterdir()) == [
            "params_avg_001.txt",
            "params_avg_003.txt",
        ]


def about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def about_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


class TestOptions:
    def classes(self, run: Path, out: Path, **settings: object) -> list[int]:
        made = make_substack(run, out, Substack(**settings))  # type: ignore[arg-type]
        found = sorted(set(read_star(made.star).particles.integers("rlnClassNumber").tolist()))
        assert made.taken == len(found)
        return found

    def with_resolutions(self, finished: Path, home: Path) -> Path:
        shutil.copytree(finished, home)
        rows = "\n".join(f"{c} {resolution}" for c, resolution in ((1, 12), (2, 25), (3, 18), (4, "inf"), (5, 30)))
        (home / "class_averages.star").write_text(
            f"data_model_classes\n\nloop_\n_rlnClassNumber\n_rlnEstimatedResolution\n{rows}\n"
        )
        return home

    def test_conditions_on_classes(self, finished: Path, tmp_path: Path) -> None:
        """Definition: each condition alone, and two together."""
        found = read_classification(finished)
        assert self.classes(finished, tmp_path / "a") == found.number.tolist()
        assert self.classes(finished, tmp_path / "b", classes="1, 3-4") == [1, 3, 4]
        size = int(np.sort(found.size)[1]) + 1
        assert self.classes(finished, tmp_path / "c", min_size=size) == found.number[found.size >= size].tolist()
        limit = float(np.sort(found.pixel_error_px)[2])
        expected = found.number[found.pixel_error_px <= limit].tolist()
        assert self.classes(finished, tmp_path / "d", max_pixel_error=limit) == expected
        assert len(expected) == 3 < len(found.number)
        one = expected[0]
        assert self.classes(finished, tmp_path / "e", max_pixel_error=limit, classes=f"{one}") == [one]

    def test_resolution(self, finished: Path, tmp_path: Path) -> None:
        """Definition: 20 Å or better; a class of unknown resolution is out."""
        home = self.with_resolutions(finished, tmp_path / "run")
        assert self.classes(home, tmp_path / "out", min_resolution=20) == [1, 3]

    def test_basename(self, finished: Path, tmp_path: Path) -> None:
        """Definition: every file of the particles begins with it."""
        make_substack(finished, tmp_path / "out", Substack(basename="mine", hdf=True))
        names = {p.name for p in (tmp_path / "out").glob("mine*")}
        lists = {f"mine_{what}.txt" for what in ("particle_id_list", "header_align2d", "header_projection")}
        assert names == {"mine.star", "mine.hdf", *lists}

    def test_stack(self, finished: Path, particles: Path, tmp_path: Path) -> None:
        """Definition: the particles of another file, in place of those that the run names."""
        copy = tmp_path / "particles.hdf"
        write_hdf_stack(copy, read_particles(particles).read(np.arange(100)), 10.0, [{"active": 1}] * 100)
        made = make_substack(finished, tmp_path / "out", Substack(hdf=True), stack=copy)
        assert read_star(made.star).particles.texts("rlnImageName")[0].endswith("particles.hdf")
        assert made.hdf is not None
        assert HdfStack(made.hdf).header(0)["active"] == 1

    def test_a_database(self, finished: Path, particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Invariance: the same images from an EMAN2 database; what HDF cannot hold of its headers is left out."""
        images = read_particles(particles).read(np.arange(100))
        extra = {"active": 1, "names": ["a", "b"], "data_path": None}
        database(tmp_path, "all", images, [header(i, images[i], apix_x=10.0, **extra) for i in range(100)])
        address = f"bdb:{tmp_path}#all"
        made = make_substack(finished, tmp_path / "out", Substack(hdf=True), stack=address)
        assert made.hdf is not None
        stack = HdfStack(made.hdf)
        ids = np.array(stack.column("source_n"))
        assert np.array_equal(stack.read(np.arange(len(ids))), images[ids])
        assert stack.header(0)["active"] == 1
        assert not {"names", "data_path"} & set(stack.header(0))
        home = tmp_path / "deep" / "run"
        shutil.copytree(finished, home)
        record = json.loads((home / "run.json").read_text())
        record["input"].update(path="bdb:all", sha256=fingerprint(Path(address)))
        (home / "run.json").write_text(json.dumps(record))
        assert read_classification(home).particles == Path(f"bdb:{tmp_path}/all")
        monkeypatch.chdir(tmp_path)
        assert make_substack(home, tmp_path / "out2", Substack(hdf=True)).particles == made.particles

    def test_segments(self, finished: Path, particles: Path, tmp_path: Path) -> None:
        """Known truth: one tube of all images, cut where members are missing."""
        metadata = read_star(particles)
        table = metadata.particles.with_column("rlnHelicalTubeID", np.ones(100, dtype=np.int64))
        table = table.with_column("rlnMicrographName", np.full(100, "m.mrc"))
        table = table.with_column("rlnHelicalTrackLengthAngst", 5.0 * np.arange(100))
        write_star(tmp_path / "segments.star", replace(metadata, particles=table), image_root=particles.parent)
        settings = Substack(min_segments=4, classes="1-3", hdf=True)
        made = make_substack(finished, tmp_path / "out", settings, stack=tmp_path / "segments.star")
        found = read_classification(finished).take([0, 1, 2])
        members = np.flatnonzero(found.class_of)
        pieces = [p for p in np.split(members, np.flatnonzero(np.diff(members) > 1) + 1) if len(p) >= 4]
        ids = np.loadtxt(tmp_path / "out" / "substack_particle_id_list.txt", dtype=int)
        assert np.array_equal(ids, np.concatenate(pieces))
        assert (made.filaments, made.runs, made.members) == (1, len(pieces), len(members))
        whole = np.loadtxt(tmp_path / "out" / "substack_original_particle_id_list.txt", dtype=int)
        assert np.array_equal(whole, members)
        columns = read_star(made.star).particles
        expected = np.concatenate([np.full(len(p), k) for k, p in enumerate(pieces, 1)])
        assert np.array_equal(columns.integers("rlnHelicalTubeID"), expected)
        track_A = np.concatenate([5.0 * np.arange(len(p)) for p in pieces])
        assert np.allclose(columns.floats("rlnHelicalTrackLengthAngst"), track_A)
        assert made.hdf is not None
        again = read_particles(made.hdf).attributes
        assert np.array_equal(again["segment_id"], np.concatenate([np.arange(len(p)) for p in pieces]))
        assert len(set(again["filament"])) == len(pieces)


class TestAveragesMadeAnew:
    @pytest.mark.parametrize(("local", "folder"), [(False, "params_avg"), (True, "ali2d_local_params_avg")])
    def test_their_poses_are_taken_as_they_are(self, tmp_path: Path, local: bool, folder: str) -> None:
        """Known truth: the poses of the run's tables, in the original's folder for them."""
        poses = averaging_run(tmp_path / "made", local=local)
        write_mrc_stack(tmp_path / "p.mrcs", np.ones((20, 8, 8), dtype=np.float32), 1.5)
        make_substack(tmp_path / "made", tmp_path / "out", stack=tmp_path / "p.mrcs")
        table = np.loadtxt(tmp_path / "out" / folder / f"{folder}_000.txt")
        assert np.allclose(table[:, :4], poses[[0, 1, 4]], atol=1e-6)
        assert len(np.loadtxt(tmp_path / "out" / "scaled_all_parameters.txt")) == 20

    def test_a_limit_on_resolution(self, tmp_path: Path) -> None:
        """Known truth: 1.5 Å over cut-offs of 0.2, 0.3 and 0.25."""
        averaging_run(tmp_path / "made")
        write_mrc_stack(tmp_path / "p.mrcs", np.ones((20, 8, 8), dtype=np.float32), 1.5)
        settings = Substack(min_resolution=6.5)
        made = make_substack(tmp_path / "made", tmp_path / "out", settings, stack=tmp_path / "p.mrcs")
        assert set(read_star(made.star).particles.integers("rlnClassNumber").tolist()) == {2, 3}
        with pytest.raises(SettingError, match="no pixel errors"):
            make_substack(tmp_path / "made", tmp_path / "b", Substack(max_pixel_error=1), stack=tmp_path / "p.mrcs")


class TestWhatIsRefused:
    def refused(self, run: Path, out: Path, kind: type[CryoisacError], words: str, **given: object) -> None:
        settings = Substack(**{k: v for k, v in given.items() if k != "stack"})  # type: ignore[arg-type]
        with pytest.raises(kind, match=words) as told:
            make_substack(run, out, settings, stack=given.get("stack"))  # type: ignore[arg-type]
        assert "\n" not in str(told.value)
        assert not [p for p in out.parent.iterdir() if p.name.startswith((".out", "out"))]

    def test_conditions_that_cannot_be_met(self, finished: Path, tmp_path: Path) -> None:
        self.refused(finished, tmp_path / "out", SettingError, "no class 9 .* has 1, 2, 3, 4", classes="9")
        self.refused(finished, tmp_path / "out", DataError, "none of its [45] classes", min_size=1000)
        self.refused(finished, tmp_path / "out", SettingError, "no resolutions", min_resolution=9)
        self.refused(finished, tmp_path / "out", DataError, "no filaments", min_segments=3)

    def test_out_that_exists(self, finished: Path, tmp_path: Path) -> None:
        (tmp_path / "made").mkdir()
        with pytest.raises(RunError, match="exists already"):
            make_substack(finished, tmp_path / "made")

    def test_particles_of_another_number(self, finished: Path, tmp_path: Path) -> None:
        write_mrc_stack(tmp_path / "few.mrcs", np.ones((9, 8, 8), dtype=np.float32), 1.0)
        self.refused(finished, tmp_path / "out", DataError, "100 images, not 9", stack=tmp_path / "few.mrcs")

    def test_particles_that_have_changed_or_gone(self, finished: Path, tmp_path: Path) -> None:
        home = tmp_path / "run"
        shutil.copytree(finished, home)
        record = json.loads((home / "run.json").read_text())
        copy = tmp_path / "copy.star"
        copy.write_text(Path(record["input"]["path"]).read_text() + "\n")
        record["input"]["path"] = str(copy)
        (home / "run.json").write_text(json.dumps(record))
        self.refused(home, tmp_path / "out", RunError, "changed since; .*--stack")
        copy.unlink()
        self.refused(home, tmp_path / "out", RunError, "not there; .*--stack")

    def test_phase_shifts_go_into_the_contrast_of_headers(
        self, finished: Path, particles: Path, tmp_path: Path
    ) -> None:
        metadata = read_star(particles)
        for name, shift_deg in (("plate", 90.0), ("beyond", 180.0)):
            table = metadata.particles.with_column("rlnPhaseShift", np.full(100, shift_deg))
            write_star(tmp_path / f"{name}.star", replace(metadata, particles=table), image_root=particles.parent)
        beyond = tmp_path / "beyond.star"
        self.refused(finished, tmp_path / "out", DataError, "phase shifts of 180", stack=beyond, hdf=True)
        make_substack(finished, tmp_path / "out", Substack(hdf=True), stack=tmp_path / "plate.star")
        (stack,) = (tmp_path / "out").glob("*.hdf")
        ctf = read_particles(stack).ctf
        assert ctf is not None
        # 10 % of amplitude contrast, and a quarter of a turn: minus the cosine of its angle
        np.testing.assert_allclose(ctf.amplitude_contrast, -np.cos(np.arcsin(0.1)), atol=1e-6)
        make_substack(finished, tmp_path / "table", stack=beyond)

    @pytest.mark.parametrize("classes", ["", "0", "3-1", "a", "1,,2", "1-", "-2"])
    def test_classes_that_cannot_be_read(self, classes: str) -> None:
        with pytest.raises(SettingError, match="--classes"):
            Substack(classes=classes)

    @pytest.mark.parametrize("name", ["", " ", "a/b"])
    def test_names_of_files(self, name: str) -> None:
        with pytest.raises(SettingError, match="--basename"):
            Substack(basename=name)
