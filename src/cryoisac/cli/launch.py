"""Whether this process was started beside others, as mpirun does: a run is one process, which takes all cores."""

import os
import shlex
from collections.abc import Mapping
from typing import Any

import click

LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MPI_LOCALNRANKS", "MPI_LOCALRANKID"),
)
COMMAND_LINE = "cryoisac.command_line"


class SeveralProcesses(click.ClickException):
    """The command was started several times at once."""

    exit_code = 2


def rank_and_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of this process among those that were started together, and how many there are.

    Notes
    -----
    A batch script of Slurm knows the number of tasks too, but is one process: only a step that srun started counts.
    """
    found = [(environment.get(size, ""), environment.get(rank, "0")) for size, rank in LAUNCHERS]
    if "SLURM_STEP_ID" in environment and "SLURM_PROCID" in environment:
        tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", ""))
        found.append((tasks, environment["SLURM_PROCID"]))
    ranks = [(int(rank), int(size)) for size, rank in found if size.isdecimal() and rank.isdecimal()]
    return max(ranks, key=lambda each: each[1], default=(0, 1))


class SoleCommand(click.Command):
    """A command that runs as one process, and knows the command line that it was called by."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Refuse several processes, the first with a sentence and the others without; then read the arguments."""
        rank, size = rank_and_size(os.environ)
        if size > 1 and rank > 0:
            raise click.exceptions.Exit(SeveralProcesses.exit_code)
        if size > 1:
            raise SeveralProcesses(
                f"{size} processes were started; this program is one process that uses all cores: call it without "
                "mpirun or srun, and choose the number of cores by --threads"
            )
        path = [*(parent.command_path.split() if parent else ()), info_name or "", *args]
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[COMMAND_LINE] = shlex.join(path)
        return context
