"""Who a running process spends time and memory on: functions of the package are wrapped by name while it runs.

A stage is charged with what no stage inside it is charged with; within a stage, the engine's questions (``total`` are
sums of both kinds, ``prepare`` is what the likelihood engine does with references before it asks) and some of what is
computed outside it are told apart.
"""

import contextlib
import functools
import importlib
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

STAGES = {
    "cryoisac.run.opening.unusable": "scan",
    "cryoisac.run.opening.make_plan": "plan",
    "cryoisac.workflow.isac.say_plan": "plan",
    "cryoisac.run.pipeline.write_shrunk": "shrink",
    "cryoisac.run.pipeline.play_prealignment": "pre-alignment",
    "cryoisac.run.pipeline.write_working": "working stack",
    "cryoisac.run.pipeline.working_pixels": "working stack",
    "cryoisac.cluster.generation.score_all": "K-means: scores",
    "cryoisac.cluster.generation.equal_size": "K-means: assignment",
    "cryoisac.cluster.generation.cluster": "K-means: poses, averages",
    "cryoisac.cluster.generation.common_frame": "common frame",
    "cryoisac.cluster.generation.prove_members": "stability: alignments",
    "cryoisac.cluster.generation.find_stable": "stability: fit",
    "cryoisac.run.likelihood.write_working": "working stack",
    "cryoisac.run.likelihood.survey": "survey",
    "cryoisac.run.likelihood.write_rings": "ring transform",
    "cryoisac.run.likelihood.estimate_prior": "power of particles",
    "cryoisac.cluster.likelihood.informed": "power of particles",
    "cryoisac.cluster.likelihood._step_start": "starts",
    "cryoisac.run.likelihood._note_start": "starts",
    "cryoisac.cluster.likelihood._step_round": "rounds",
    "cryoisac.cluster.likelihood._step_fine": "fine poses",
    "cryoisac.cluster.likelihood.judge": "verdict: reasons",
    "cryoisac.cluster.judging.repeat_alignments": "verdict: repeated alignments",
    "cryoisac.cluster.judging.noise_level": "verdict: noise",
    "cryoisac.cluster.likelihood.with_final_poses": "verdict: final poses",
    "cryoisac.cluster.finishing.result": "averages",
    "cryoisac.run.pipeline.checkpoint.save": "checkpoints",
    "cryoisac.workflow.isac.order_classes": "products: ordering",
    "cryoisac.workflow.isac.publish": "products: writing",
    "cryoisac.workflow.isac.write_report": "products: report",
}
LIKELIHOOD = "cryoisac.engine.likelihood_native.NativeLikelihoodEngine"
CLUSTER = "cryoisac.cluster"
PARTS = {
    **{f"{LIKELIHOOD}.{question}": question for question in ("score", "match", "refine", "total")},
    f"{LIKELIHOOD}.ready": "prepare",
    f"{LIKELIHOOD}.ask": "score",
    f"{CLUSTER}.partition.assigned": "assign",
    f"{CLUSTER}.likelihood.assigned": "assign",
    **{f"{CLUSTER}.{module}.class_sums": "sums" for module in ("partition", "splitting", "judging", "finishing")},
    **{f"{CLUSTER}.{module}.averages": "averages" for module in ("partition", "splitting", "judging", "finishing")},
    **{f"{CLUSTER}.{module}.shared_prior": "prior" for module in ("partition", "judging", "likelihood", "finishing")},
    "cryoisac.engine.native.NativeEngine.score": "score",
    "cryoisac.engine.native.NativeEngine.match": "match",
    "cryoisac.engine.native.NativeEngine.total": "total",
    "cryoisac.engine.native.NativeEngine.quick_total": "total",
    "cryoisac.align.reference_free.tangent_lowpass": "filter",
    "cryoisac.align.multireference.tangent_lowpass": "filter",
    "cryoisac.cluster.generation.tangent_lowpass": "filter",
}
ENGINE = ("score", "match", "refine", "total", "prepare")
OUTSIDE = ("assign", "sums", "averages", "prior", "filter", "rest")
STATUS = Path("/proc/self/status")


@dataclass
class Cost:
    """What one stage took: wall and CPU seconds by part, CPU seconds also with waits for a core, peak in MB."""

    wall_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    parts_cpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    wanted_s: float = 0.0
    peak_MB: float = 0.0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all threads."""
        return sum(self.parts_cpu_s.values())


class Meter:
    """Charges time and memory to the stage, and the part of it, that is being played."""

    def __init__(self, wanted: Callable[[], float] = lambda: 0.0) -> None:
        self.costs: dict[str, Cost] = defaultdict(Cost)
        self._wanted_s, self._wanted_before = wanted, wanted()
        self._stages, self._parts = ["everything else"], ["rest"]
        reset_peak()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def charge(self) -> None:
        """Charge what passed since the last time to the present stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        cost = self.costs[self._stages[-1]]
        cost.wall_s[self._parts[-1]] += wall - self._wall
        cost.parts_cpu_s[self._parts[-1]] += cpu - self._cpu
        wanted = self._wanted_s()
        cost.wanted_s += wanted - self._wanted_before
        self._wanted_before = wanted
        self._wall, self._cpu = wall, cpu

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge what is inside to a stage."""
        self._peak()
        self.charge()
        self._stages.append(name)
        self._parts.append("rest")
        try:
            yield
        finally:
            self._peak()
            self.charge()
            self._stages.pop()
            self._parts.pop()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge what is inside to a part of the present stage."""
        self.charge()
        self._parts.append(name)
        try:
            yield
        finally:
            self.charge()
            self._parts.pop()

    def end(self) -> None:
        """Charge what is left."""
        self._peak()
        self.charge()

    def _peak(self) -> None:
        """Charge the highest resident memory since the last time to the present stage, and begin anew."""
        cost = self.costs[self._stages[-1]]
        cost.peak_MB = max(cost.peak_MB, peak_MB())
        reset_peak()


def reset_peak() -> None:
    """Forget the highest resident memory so far, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def status_MB(field: str) -> float:
    """Return a field of this process's status in MB (Linux)."""
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(field)) * 1.024e-3


def peak_MB() -> float:
    """Return the highest resident memory of this process, in MB; on Linux since it was last reset."""
    return status_MB("VmHWM:") if STATUS.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3


def found(path: str) -> tuple[Any, str] | None:
    """Return the module or class that holds a name, and the name; ``None`` where there is no such thing."""
    words = path.split(".")
    for end in range(len(words) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            holder = importlib.import_module(".".join(words[:end]))
            for word in words[end:-1]:
                holder = getattr(holder, word)
            return (holder, words[-1]) if hasattr(holder, words[-1]) else None
    return None


@contextlib.contextmanager
def metered(
    wanted: Callable[[], float] = lambda: 0.0, *, parts: Mapping[str, str] = MappingProxyType(PARTS)
) -> Iterator[Meter]:
    """Wrap the functions of ``STAGES`` and of parts while a run is played; ``wanted`` as ``wanted_cores`` gives it."""
    meter, undo = Meter(wanted), []

    def wrap(function: Callable[..., Any], enter: Callable[[str], Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with enter(name):
                return function(*args, **kwargs)

        return call

    for table, enter in ((STAGES, meter.stage), (parts, meter.part)):
        for path, name in table.items():
            place = found(path)
            if place is not None:
                undo.append((*place, getattr(*place)))
                setattr(*place, wrap(getattr(*place), enter, name))
    try:
        yield meter
        meter.end()
    finally:
        for holder, name, function in undo:
            setattr(holder, name, function)


@contextlib.contextmanager
def own_memory(every_s: float = 0.003) -> Iterator[list[float]]:
    """Give a list that grows by the anonymous memory of this process in MB, every few milliseconds (Linux)."""
    seen, done = [0.0], threading.Event()

    def watch() -> None:
        while STATUS.exists() and not done.wait(every_s):
            seen.append(status_MB("RssAnon:"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


@contextlib.contextmanager
def wanted_cores() -> Iterator[Callable[[], float]]:
    """Give a function that says for how many seconds threads have run, or waited for a core that others had (Linux).

    Over wall time that is how many cores the program would keep busy on a machine that does nothing else.
    """
    seen: dict[str, int] = {}
    done = threading.Event()

    def look() -> None:
        for task in Path("/proc/self/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                ran, waited, _ = task.read_text().split()
                seen[task.parent.name] = int(ran) + int(waited)

    def watch() -> None:
        while Path("/proc/self/task").exists() and not done.wait(0.02):
            look()

    def total() -> float:
        look()
        return sum(seen.copy().values()) * 1e-9

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield total
    finally:
        done.set()
        watcher.join()
