"""Whole runs on the device, and beside it on the processor; parts of ``gpu_check``."""

import shutil
from dataclasses import dataclass

from gpu_record import ROOT, Check
from gpu_runs import begin_simulation, played, simulated

from cryoisac.engine.native import default_threads

RUNS = ROOT / "build" / "gpu_check_runs"
SIMULATION_SECONDS = 90  # that a run waits for its particles
LEAST_SECONDS = 20  # for which a run is begun
BOUNDED = ("--main-iter-limit", "1", "--init-iter", "2")  # of isac2: one main iteration, two rounds a generation
QUICK = ["--target-radius", "10", "--target-nx", "28"]
QUICK_ISAC2 = ["--init-iter", "1", "--maxit", "2", "--stab-ali", "2"]


@dataclass(frozen=True)
class Case:
    """Particles of a whole run: how many, of how many views."""

    images: int
    views: int
    quick_images: int
    quick_views: int

    def sizes(self, run: Check) -> tuple[int, int, int]:
        """Return images, views and side."""
        return (self.quick_images, self.quick_views, 40) if run.quick else (self.images, self.views, 90)


LARGE, SMALL = Case(100_000, 200, 60, 3), Case(10_000, 100, 48, 3)


def begin(run: Check) -> None:
    """Begin to make the particles of all runs, in the background, by all cores."""
    shutil.rmtree(RUNS, ignore_errors=True)
    for case in (LARGE, SMALL):
        images, views, side = case.sizes(run)
        workers = min(default_threads(), 4) if case is SMALL else default_threads()
        run.background.append(begin_simulation(RUNS / f"particles{images}", images, views, side, workers))


def whole(run: Check) -> None:
    """Play a whole run of 100,000 images by the default method."""
    _run(run, LARGE, "likelihood", _device(run))


def isac2(run: Check) -> None:
    """Play a run of 100,000 images by isac2, one main iteration of few rounds."""
    _run(run, LARGE, "isac2", _device(run), *BOUNDED)


def beside(run: Check) -> None:
    """Play smaller runs of both methods on the device and on the processor."""
    for method in ("likelihood", "isac2"):
        for device in (_device(run), "cpu"):
            _run(run, SMALL, method, device, *(BOUNDED if method == "isac2" else ()))


def _device(run: Check) -> str:
    return run.devices.names[0] if run.device.type != "cpu" else "torch-cpu"


def _run(run: Check, case: Case, method: str, device: str, *more: str) -> None:
    """Play a run in its own process, and say what each stage took; where it is cut off, how far it came."""
    images, views, _ = case.sizes(run)
    name = f"run {method}, {images:,} images, {device}"
    folder = RUNS / f"particles{images}"
    if not run.time_for(name, LEAST_SECONDS):
        return
    if not folder.exists():
        begin(run)
    with run.step(name):
        radius = simulated(folder, limit_s=min(SIMULATION_SECONDS, run.left()))
        if not radius:
            log = folder.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"no particles after {SIMULATION_SECONDS} s: {log[-500:]}")
        out = RUNS / f"{method}{images}{device.replace(':', '')}"
        words = ["isac", str(folder / "particles.star"), str(out), "--method", method, "--device", device]
        words += ["--img-per-grp", str(images // views), "--radius", radius, *more]
        words += QUICK + (QUICK_ISAC2 if method == "isac2" else []) if run.quick else []
        taken = played(words, out.with_suffix(".json"), limit_s=run.left())
        row = vars(taken) | {"engine_share": taken.engine_share}
        run.found.setdefault("runs", {})[name] = row
        end = "" if taken.end == "over" else f"{taken.end.upper()}, "
        run.say(f"{name}: {end}{taken.wall_s:.1f} s, {taken.engine_share:.0%} in the engine; {taken.said}")
        for line in taken.rows():
            run.say(f"    {line}")
        shutil.rmtree(out, ignore_errors=True)
