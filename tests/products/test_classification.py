"""Finished classifications read back: the original's, ours, and averages made anew."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from cryoisac.errors import CryoisacError, DataError, FormatError, RunError
from cryoisac.io.eman_hdf import write_hdf_stack
from cryoisac.io.eman_stack import HdfStack
from cryoisac.io.star import read_star
from cryoisac.model.poses import Poses, from_relion, pixel_error
from cryoisac.ops.warp import rotate_shift
from cryoisac.products.classification import read_classification


def matrix(row: np.ndarray) -> np.ndarray:
    """Return a pose as the 3 x 3 matrix of the definition: rotate, shift, then negate all of row 0."""
    angle, x, y, mirror = row
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    flip = np.diag([-1.0 if mirror == 1 else 1.0, 1, 1])
    return flip @ np.array([[c, s, x], [-s, c, y], [0, 0, 1]])


def pulled(image: np.ndarray, through: np.ndarray, side: int) -> np.ndarray:
    """Return the image of ``side`` px that shows at each point what ``image`` shows where ``through`` carries it."""
    y, x = np.mgrid[:side, :side] - side // 2
    at = through @ np.stack((x.ravel(), y.ravel(), np.ones(side * side)))
    centre = image.shape[0] // 2
    return map_coordinates(image, [at[1] + centre, at[0] + centre], order=3, mode="nearest").reshape(side, side)


class TestTheOriginalsRun:
    def test_its_tables_and_averages_agree(self, golden_run: Path) -> None:
        """Independent program: the run of the original, by its own list of images in classes."""
        found = read_classification(golden_run, 600)
        processed = np.loadtxt(golden_run / "processed_images.txt").astype(int)
        assert (found.kind, found.ratio, found.radius_px) == ("isac2", 1.07407, 27.0)
        assert np.array_equal(np.flatnonzero(found.accounted), processed)
        assert np.array_equal(np.sort(np.concatenate(found.members)), processed)
        assert np.array_equal(found.number, np.arange(1, 11))
        assert found.averages == golden_run / "class_averages.hdf"
        assert found.particles is None
        assert found.working_pixel_size_A is None

    def test_ordered_averages_keep_their_numbers(self, golden_run: Path) -> None:
        """Independent program: the original says in its own table which class stands at each position."""
        found = read_classification(golden_run, averages=golden_run / "ordered_class_averages.hdf")
        chain = np.loadtxt(golden_run / "chains_params.txt")
        assert np.array_equal(found.number, chain[:, 1] + 1)

    def test_poses_are_products_of_matrices(self, golden_run: Path) -> None:
        """Definition by brute force: pre-alignment, then the pose in the class with its shift over the ratio."""
        found = read_classification(golden_run)
        first = np.loadtxt(golden_run / "2dalignment" / "initial2Dparams.txt")
        then = np.loadtxt(golden_run / "all_parameters.txt")
        then[:, 1:3] /= 1.07407
        for i in np.flatnonzero(found.accounted)[::7]:
            assert np.allclose(matrix(found.poses.rows()[i]), matrix(then[i]) @ matrix(first[i]), atol=1e-9)
        lost = np.flatnonzero(~found.accounted)
        assert np.array_equal(found.poses.rows()[lost], np.zeros((len(lost), 4)))

    def test_particles_made_of_the_averages_average_back(self, golden_run: Path) -> None:
        """Known truth: each average carried back step by step to its members, then laid together by total poses."""
        found = read_classification(golden_run)
        first = np.loadtxt(golden_run / "2dalignment" / "initial2Dparams.txt")
        then = np.loadtxt(golden_run / "all_parameters.txt")
        averages = HdfStack(found.averages).read(np.arange(10)).astype(np.float64)
        side, radius = 90, 27
        y, x = np.mgrid[:side, :side] - side // 2
        disc = x**2 + y**2 < (radius - 2) ** 2
        zoom = np.diag([1.07407, 1.07407, 1])
        for c in (0, 4, 9):
            members = found.members[c][:12]
            # a working pixel is 1 / 1.07407 of an input pixel: image to pre-aligned, to working image, to average
            particles = np.array(
                [pulled(averages[c], matrix(then[i]) @ zoom @ matrix(first[i]), side) for i in members]
            )
            back = rotate_shift(particles, found.poses[members], method="cubic").mean(axis=0)
            wanted = pulled(averages[c], zoom, side)
            # interpolations cost 0.0002; without the pre-alignment it is 0.98 or less, without the ratio 0.9996 or less
            assert np.corrcoef(back[disc], wanted[disc])[0, 1] > 0.9997


class TestOurRuns:
    def test_poses_and_classes_are_those_of_the_relion_table(self, finished: Path, particles: Path) -> None:
        """Independent route: the same poses through RELION's columns."""
        found = read_classification(finished, 100)
        table = read_star(finished / "classified.star").particles
        members = np.flatnonzero(found.accounted)
        assert found.kind == "cryoisac"
        assert found.particles == particles
        assert np.array_equal(found.class_of[members], table.integers("rlnClassNumber"))
        origin_px = np.stack([table.floats(f"rlnOrigin{axis}Angst") for axis in "XY"], axis=1) / found.pixel_size_A
        same = from_relion(table.floats("rlnAnglePsi"), origin_px, table.floats("rlnIsFlip"))
        # both tables are rounded to 6 decimals, and the origin was divided by 10 Å
        assert pixel_error(found.poses[members], same, radius_px=12).max() < 1e-5

    def test_facts_of_classes_are_those_of_the_record(self, finished: Path) -> None:
        """Independent route: sizes and errors as run.json tells them."""
        found = read_classification(finished)
        classes = json.loads((finished / "run.json").read_text())["classes"]
        assert found.size.tolist() == [c["members"] for c in classes]
        assert np.allclose(found.pixel_error_px, [c["pixel_error_px"] for c in classes], atol=1e-6)
        assert np.isnan(found.resolution_A).all()
        assert (found.ratio, found.radius_px, found.working_pixel_size_A) == (10 / 12, 12.0, 12.0)

    def test_a_subset_without_numbers_keeps_them(self, finished: Path, tmp_path: Path) -> None:
        """Known truth: two averages as another program writes them, with members alone, in another order."""
        whole = read_classification(finished)
        chosen = [3, 1]
        averages = HdfStack(whole.averages).read(np.array(chosen))
        headers = [{"members": whole.members[c].astype(np.int32)} for c in chosen]
        write_hdf_stack(tmp_path / "good.hdf", averages, 12.0, headers)
        found = read_classification(finished, averages=tmp_path / "good.hdf")
        assert found.number.tolist() == [4, 2]
        assert np.array_equal(found.pixel_error_px, whole.pixel_error_px[chosen])
        assert all(np.array_equal(a, whole.members[c]) for a, c in zip(found.members, chosen, strict=True))
        assert (found.class_of > 0).sum() == whole.size[chosen].sum()
        assert np.array_equal(found.accounted, whole.accounted)

    def test_a_relative_name_of_particles_is_found(self, finished: Path, tmp_path: Path) -> None:
        """Known truth: a run made in the directory above it."""
        home = tmp_path / "project" / "run"
        shutil.copytree(finished, home)
        (tmp_path / "project" / "images.star").write_text("")
        record = json.loads((home / "run.json").read_text())
        record["input"]["path"] = "images.star"
        (home / "run.json").write_text(json.dumps(record))
        assert read_classification(home).particles == tmp_path / "project" / "images.star"


def averaging_run(home: Path, *, local: bool = False) -> np.ndarray:
    """Write what averages made anew leave for 20 images in classes of 3, 1 and 2, and return the poses."""
    home.mkdir()
    rng = np.random.default_rng(5)
    images = np.array([2, 3, 5, 7, 11, 13])
    poses = np.column_stack((rng.uniform(0, 360, 6), rng.normal(0, 2, (6, 2)), rng.integers(0, 2, 6)))
    before = poses + np.array([10, 1, 1, 0])
    np.savetxt(home / "init_isac_params.txt", np.column_stack((images, before if local else poses, np.ones(6))))
    if local:
        np.savetxt(home / "ali2d_local_params.txt", np.column_stack((images, poses)))
    members = [[11, 2, 3], [5], [13, 7]]
    averages = rng.normal(size=(3, 16, 16)).astype(np.float32)
    write_hdf_stack(home / "class_averages.hdf", averages, 1.5, [{"members": np.array(m)} for m in members])
    np.savetxt(home / "FH_list.txt", [[0, 0.2, 0.0], [1, -1, 0.3], [2, 0.25, 0.0]])
    return poses


class TestAveragesMadeAnew:
    @pytest.mark.parametrize("local", [False, True])
    def test_poses_are_those_of_the_finest_table(self, tmp_path: Path, local: bool) -> None:
        """Known truth: refined poses go before composed ones."""
        poses = averaging_run(tmp_path / "made", local=local)
        found = read_classification(tmp_path / "made", 20)
        assert (found.kind, found.ratio, found.radius_px) == ("averages", 1.0, None)
        assert np.flatnonzero(found.accounted).tolist() == [2, 3, 5, 7, 11, 13]
        assert pixel_error(found.poses[found.accounted], Poses.from_rows(poses), radius_px=5).max() < 1e-9
        assert [m.tolist() for m in found.members] == [[2, 3, 11], [5], [7, 13]]
        assert len(read_classification(tmp_path / "made").accounted) == 14

    def test_resolutions_are_those_of_its_list(self, tmp_path: Path) -> None:
        """Definition: pixel size over the first cut-off, over the second where there is no first."""
        averaging_run(tmp_path / "made")
        found = read_classification(tmp_path / "made")
        assert found.pixel_size_A == 1.5
        assert np.allclose(found.resolution_A, [1.5 / 0.2, 1.5 / 0.3, 1.5 / 0.25])

    def test_a_table_of_classes_goes_before_the_list(self, tmp_path: Path) -> None:
        """Known truth: a table that lists classes in another order."""
        averaging_run(tmp_path / "made")
        rows = "\n".join(
            f"{c} {error} {resolution}" for c, error, resolution in ((3, 0.3, 9), (1, 0.1, 7), (2, 0.2, 8))
        )
        (tmp_path / "made" / "class_averages.star").write_text(
            f"data_model_classes\n\nloop_\n_rlnClassNumber\n_cryoisacPixelError\n_rlnEstimatedResolution\n{rows}\n"
        )
        found = read_classification(tmp_path / "made")
        assert found.pixel_error_px.tolist() == [0.1, 0.2, 0.3]
        assert found.resolution_A.tolist() == [7, 8, 9]


def spoiled(golden_run: Path, home: Path) -> Path:
    """Return a copy of the original's run that a test may spoil."""
    (home / "2dalignment").mkdir(parents=True)
    for name in ("2dalignment/initial2Dparams.txt", "README_shrink_ratio.txt", "all_parameters.txt"):
        (home / name).write_text((golden_run / name).read_text())
    (home / "class_averages.hdf").write_bytes((golden_run / "class_averages.hdf").read_bytes())
    return home


class TestWhatIsRefused:
    def refused(self, home: Path, kind: type[CryoisacError], words: str, **options: object) -> None:
        with pytest.raises(kind, match=words) as told:
            read_classification(home, **options)  # type: ignore[arg-type]
        assert "\n" not in str(told.value)

    def test_missing_files_are_listed(self, golden_run: Path, tmp_path: Path) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        (home / "README_shrink_ratio.txt").unlink()
        (home / "all_parameters.txt").unlink()
        self.refused(home, RunError, r"lacks README_shrink_ratio.txt, all_parameters.txt; .*init_isac_params.txt")
        self.refused(tmp_path / "nothing", RunError, "no directory")

    def test_no_averages(self, golden_run: Path, tmp_path: Path) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        (home / "class_averages.hdf").unlink()
        self.refused(home, RunError, "class_averages.hdf")

    def test_another_number_of_images(self, golden_run: Path) -> None:
        self.refused(golden_run, DataError, "600 images, not 601", n_images=601)

    def test_tables_of_different_runs(self, golden_run: Path, tmp_path: Path) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        path = home / "2dalignment" / "initial2Dparams.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        self.refused(home, DataError, "599 rows.*600")

    def test_a_member_without_a_pose(self, golden_run: Path, tmp_path: Path) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        rows = (home / "all_parameters.txt").read_text().splitlines()
        rows[6] = "0 0 0 -1"
        (home / "all_parameters.txt").write_text("\n".join(rows))
        self.refused(home, DataError, "class 1 has image 6 for a member, which has no pose")

    @pytest.mark.parametrize("row", ["1 2 3 2", "1 nan 3 0"])
    def test_what_is_no_pose(self, golden_run: Path, tmp_path: Path, row: str) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        rows = (home / "all_parameters.txt").read_text().splitlines()
        (home / "all_parameters.txt").write_text("\n".join([*rows[:9], row, *rows[10:]]))
        self.refused(home, FormatError, "row 10 is no pose")

    @pytest.mark.parametrize("text", ["", "\n1\n2\n3\n4\nfive\n6\n", "\n1\n2\n3\n4\n0\n6\n"])
    def test_no_ratio(self, golden_run: Path, tmp_path: Path, text: str) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        (home / "README_shrink_ratio.txt").write_text(text)
        self.refused(home, FormatError, "shrink ratio")

    def test_a_run_that_has_not_finished(self, golden_run: Path, tmp_path: Path) -> None:
        home = spoiled(golden_run, tmp_path / "run")
        (home / "run.json").write_text('{"status": "running"}')
        self.refused(home, RunError, "not finished")
        (home / "run.json").write_text("{")
        self.refused(home, RunError, "damaged")

    def test_averages_of_another_run(self, golden_run: Path, tmp_path: Path) -> None:
        whole = read_classification(golden_run)
        picture = np.zeros((1, 8, 8), dtype=np.float32)
        for members, words in (
            (np.concatenate(whole.members[:2]), "no class of"),
            (np.flatnonzero(~whole.accounted), "no class of"),
            (np.array([600, 601]), "no class of"),
        ):
            write_hdf_stack(tmp_path / "other.hdf", picture, None, [{"members": members}])
            self.refused(golden_run, DataError, words, averages=tmp_path / "other.hdf")
        twice = [{"members": whole.members[2]}, {"members": whole.members[2]}]
        write_hdf_stack(tmp_path / "twice.hdf", np.zeros((2, 8, 8), dtype=np.float32), None, twice)
        self.refused(golden_run, DataError, "two averages of class 3", averages=tmp_path / "twice.hdf")

    def test_averages_without_members(self, golden_run: Path, tmp_path: Path) -> None:
        write_hdf_stack(tmp_path / "bare.hdf", np.zeros((1, 8, 8), dtype=np.float32))
        self.refused(golden_run, FormatError, "carries no members", averages=tmp_path / "bare.hdf")
        (tmp_path / "bare.mrcs").write_bytes(b"\0" * 2000)
        self.refused(golden_run, FormatError, "no HDF stack", averages=tmp_path / "bare.mrcs")

    @pytest.mark.parametrize(
        ("row", "words"),
        [("2 0 0 0 0", "twice"), ("20 0 0 0 0", "of 20"), ("4 0 0 0 -1", "mirror -1"), ("4.5 0 0 0 0", "image 4.5")],
    )
    def test_tables_of_averages_made_anew(self, tmp_path: Path, row: str, words: str) -> None:
        averaging_run(tmp_path / "made", local=True)
        with (tmp_path / "made" / "ali2d_local_params.txt").open("a") as file:
            file.write(row + "\n")
        self.refused(tmp_path / "made", DataError, words, n_images=20)
