"""The pages are run: links lead somewhere, command lines parse, tables hold what the code holds."""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cryoisac.cli import sphire
from cryoisac.cli.main import COMMANDS, group
from cryoisac.cli.options import from_options
from cryoisac.model.ledger import REASONS
from cryoisac.settings import (
    Averaging,
    Explore,
    Isac,
    Multireference,
    Order,
    ReferenceFree,
    Settings,
    Simulation,
    Substack,
    Transform,
)

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
SETTINGS_OF: dict[str, type[Settings]] = {
    "explore": Explore,
    "average": Averaging,
    "isac": Isac,
    "mra": Multireference,
    "order": Order,
    "rfa": ReferenceFree,
    "simulate": Simulation,
    "substack": Substack,
    "transform": Transform,
}
SHELLS = ("", "sh", "bash", "console", "shell")

NOT_IN_EXAMPLES = {
    "command.txt",
    "state/whitening.npz",
    "mainMMM/generationGGG/to_process_next_MMM_GGG.txt",
}  # calls from Python; no phase plate; small classes

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield language and content of the fenced blocks of a page."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Return a page without its fenced blocks and code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(text: str, program: str = "cryoisac") -> list[list[str]]:
    """Return the arguments of each call of a program in the shell blocks of a page."""
    lines = [
        line.strip().removeprefix("$ ")
        for language, content in blocks(text)
        if language in SHELLS
        for line in content.replace("\\\n", " ").splitlines()
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.split(" ")[0] == program]


def parse(arguments: list[str]) -> None:
    """Parse a call as the command line does, with its settings checked, and run nothing."""
    if not arguments or arguments[0].startswith("-"):
        with pytest.raises(click.exceptions.Exit):
            group.make_context("cryoisac", arguments)
        return
    name, *rest = arguments
    command = group.get_command(click.Context(group), name)
    assert command is not None, f"there is no command {name}"
    try:
        context = command.make_context(name, rest)
    except click.exceptions.Exit:  # --help
        return
    if name in SETTINGS_OF:
        from_options(SETTINGS_OF[name], context.params)


def first_cells(page: Path, heading: str) -> list[str]:
    """Return the names in backticks in the first column of the table under a heading."""
    under = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    rows = re.split(r"^#+ ", under, flags=re.MULTILINE)[0].splitlines()
    return [name for row in rows if row.startswith("| `") for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def numberless(name: str) -> str:
    """Return the name of a file with letters for its numbers: of a main iteration, a class and so on."""
    for pattern, letters in (
        (r"main\d{3}", "mainMMM"),
        (r"generation(?!000)\d{3}", "generationGGG"),
        (r"_\d{3}_000\.", "_MMM_000."),
        (r"_\d{3}_\d{3}\.", "_MMM_GGG."),
        (r"resolution\d{3}", "resolutionNNN"),
        (r"_avg_\d{3}\.", "_avg_NNN."),
    ):
        name = re.sub(pattern, letters, name)
    return name


@pytest.mark.parametrize(("name", "text"), runpy.run_path(str(DOCS / "make_pages.py"))["pages"]().items())
def test_pages_made_from_the_code_are_up_to_date(name: str, text: str) -> None:
    """Definition: `python docs/make_pages.py` would change nothing."""
    assert (DOCS / name).read_text(encoding="utf-8") == text


def rows_of_options() -> Iterator[list[str]]:
    """Yield the cells of each row of the page of the originals' options."""
    for line in (DOCS / "options.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip(" `") for cell in line.strip("|").split(" | ")]


def test_every_option_of_the_originals_has_a_row() -> None:
    """Definition: what the programs take is in the tables, and nothing else; so is its spelling in ours."""
    ours = group.get_command(click.Context(group), "isac")
    assert ours is not None
    spellings = {name for parameter in ours.params for name in parameter.opts} | {"--help", "PARTICLES", "OUT", "–"}
    listed = [cells[0] for cells in rows_of_options()]
    for program in (sphire.GPU, sphire.CPU):
        options = [p for p in sphire.command_of(program).params if isinstance(p, click.Option)]
        assert sorted(listed) == sorted([*(o.opts[0] for o in options), "stack_file", "output_directory", "--help"])
    for cells in rows_of_options():
        spelled = cells[2]
        assert spelled in spellings or spelled == "cryoisac devices", cells[0]


@pytest.mark.parametrize("cells", list(rows_of_options()), ids=lambda cells: cells[0])
def test_every_option_of_the_originals_has_a_test(cells: list[str]) -> None:
    """Definition: the last column names one that is there."""
    file, name = cells[-1].split("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    """Definition: every relative link names a file that is there, and a heading that the file has."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@by_page
def test_command_lines_parse(page: Path) -> None:
    """Definition: each call that a page shows is one that the program takes."""
    for arguments in command_lines(page.read_text(encoding="utf-8")):
        parse(arguments)


@by_page
@pytest.mark.parametrize("program", [sphire.GPU, sphire.CPU], ids=lambda p: p.name)
def test_command_lines_of_the_originals_parse(page: Path, program: sphire.Program) -> None:
    """Definition: as above."""
    for arguments in command_lines(page.read_text(encoding="utf-8"), program.name):
        sphire.settings_from(sphire.command_of(program).make_context(program.name, arguments).params)


def test_command_lines_are_found_and_wrong_ones_are_refused() -> None:
    """Definition: the tests above see what they must not pass."""
    text = "```sh\ncryoisac isac a.star out \\\n  --xr 3  # wider\n$ cryoisac --version\nls\n```\n"
    assert command_lines(text) == [["isac", "a.star", "out", "--xr", "3"], ["--version"]]
    with pytest.raises(click.UsageError):
        parse(["isac", "a.star", "out", "--no-such-option"])


def test_the_demo_of_the_makefile_parses() -> None:
    """Definition."""
    lines = re.findall(r"^\t\$\(BIN\)/cryoisac (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    for line in lines:
        parse(shlex.split(line))


def test_the_index_lists_every_page_and_command() -> None:
    """Definition: what is not in the index is not found."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert {p.name for p in DOCS.glob("*.md")} - {"index.md"} == set(re.findall(r"\]\((\w[\w-]*\.md)\)", text))
    for name, meaning in COMMANDS.items():
        assert f"| `cryoisac {name}` | {meaning} |" in text


def test_the_reasons_are_those_of_the_ledger() -> None:
    """Definition: the page and the code give the same reasons in the same words."""
    text = (DOCS / "files.md").read_text(encoding="utf-8")
    rows = "\n".join(f"| `{reason}` | {meaning} |" for reason, meaning in REASONS.items())
    assert f"| reason | meaning |\n|---|---|\n{rows}\n\n" in text


def test_the_python_page_runs_and_the_files_page_tells_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Definition: the examples run as they stand, and each file that they write is in a table, and nothing else."""
    monkeypatch.chdir(tmp_path)
    examples = [code for language, code in blocks((DOCS / "python.md").read_text(encoding="utf-8"))]
    exec(compile("\n".join(examples), "docs/python.md", "exec"), {})
    runs = ("run", "original")
    for directories, heading in (
        (runs, "What a run writes"),
        (("particles",), "What a simulation writes"),
        (("chosen",), "What a substack writes"),
        (("full",), "What averages at full size write"),
    ):
        files = [p.relative_to(d).as_posix() for d in directories for p in Path(d).rglob("*") if p.is_file()]
        assert {numberless(name) for name in files} == set(first_cells(DOCS / "files.md", heading)) - NOT_IN_EXAMPLES
    for heading, file in (("The ledger", "run/ledger.csv"),):
        columns = Path(file).read_text(encoding="utf-8").splitlines()[0].split(",")
        assert first_cells(DOCS / "files.md", heading) == [*columns, *REASONS]
    table = Path("run/classified.star").read_text(encoding="utf-8")
    for column in first_cells(DOCS / "files.md", "The pose in RELION's columns")[:5]:
        assert f"_{column} " in table
