"""Where a result comes from: settings, input, versions, files, warnings."""

from collections.abc import Collection, Mapping
from html import escape
from pathlib import PureWindowsPath
from typing import Any

from cryoisac.report.finished import FinishedRun
from cryoisac.report.markup import section, shown, table
from cryoisac.settings import Described, Isac, Settings, describe

FILES = {  # what people and programs go on with
    "class_averages.mrcs": "class averages, class after class",
    "class_averages.hdf": "the same for EMAN2 and SPHIRE, with the members of each class",
    "ordered_class_averages.mrcs": "class averages in the order of similarity, turned to lie on each other",
    "ordered_class_averages.hdf": "the same for EMAN2 and SPHIRE",
    "class_averages.star": "table of the class averages",
    "classified.star": "members with class and pose, for RELION",
    "ledger.csv": "every particle: its class, or why it is in none",
    "run.json": "everything on this page, for programs",
}


def warnings(record: Mapping[str, Any]) -> str:
    """Return the warnings that a record holds, or nothing."""
    items = "".join(f"<li>{escape(w)}</li>" for w in record.get("warnings", ()))
    return f'<aside class="warnings"><h2>Warnings</h2><ul>{items}</ul></aside>' if items else ""


def input_name(run: FinishedRun) -> str:
    """Return the name of the input file or database, without the directories that lead to it."""
    name = PureWindowsPath(run.record["input"]["path"]).name  # knows both kinds of slashes
    return name.rpartition("#")[2] if "#" in name else name.removeprefix("bdb:")


def settings(run: FinishedRun) -> str:
    """Return all settings of a classification."""
    return setting_table(Isac, run.record)


def setting_table(kind: type[Settings], record: Mapping[str, Any]) -> str:
    """Return all settings of a kind: meaning, value, and where the value comes from."""
    described = {d.name: d for d in describe(kind)}
    values, found = record["settings"], record["automatic"]
    methods = ("", values.get("method", ""))
    shown_here = [name for name, d in described.items() if name in values and d.method in methods]
    rows = [_setting(described[name], values[name], found.get(name)) for name in shown_here]
    note = '<p class="faint">An asterisk marks settings that differ from their defaults.</p>'
    return section("Settings", note, table(("Setting", "Meaning", "Value", "Found by"), rows, kind="settings"))


def _setting(d: Described, value: Any, found: str | None) -> str:
    automatic = d.default is None
    changed = found is None and value != d.default
    if value is None:
        text, source = escape(d.setting.automatic), "default"
    else:
        text = shown(value) + (f" {escape(d.setting.unit)}" if d.setting.unit else "")
        default = f"automatic: {d.setting.automatic}" if automatic else shown(d.default)
        source = f"automatic: {found}" if found is not None else f"given (default {default})" if changed else "default"
    return (
        f'<tr{" class=changed" if changed else ""}><th scope="row"><code>{escape(d.flag)}</code></th>'
        f'<td>{escape(d.setting.meaning)}</td><td>{text}</td><td class="faint">{escape(source)}</td></tr>'
    )


def provenance(run: FinishedRun) -> str:
    """Return input, geometry, version and device."""
    given, derived = run.record["input"], run.record["derived"]
    size = given.get("pixel_size_A")
    working = f"{derived['working_box_px']} px"
    if run.pixel_size_A is not None:
        working += f" at {run.pixel_size_A:.4g} Å/px"
    facts = {
        "Program": f"cryoisac {run.record['version']}",
        "Input": input_name(run),
        "Particles": f"{given['images']:,} in boxes of {given['box_px']} px"
        + ("; pixel size unknown" if size is None else f" at {size:.4g} Å/px"),
        "Working images": f"{working}, {derived['shrink_ratio']:.4g} times the size of the input images",
        "Fingerprint (SHA-256)": given["sha256"],
        "Computed on": run.record.get("device", "processor"),
    }
    return fact_list(facts)


def fact_list(facts: Mapping[str, Any]) -> str:
    """Return named facts on input and version."""
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(text))}</dd>" for name, text in facts.items())
    return section("Input and version", f'<dl class="facts">{cells}</dl>')


def files(run: FinishedRun) -> str:
    """Return what the run directory holds to go on with."""
    return file_table(FILES, run.files)


def file_table(known: Mapping[str, str], present: Collection[str]) -> str:
    """Return those of the known files that are present, and what they hold."""
    rows = [
        f'<tr><th scope="row"><code>{name}</code></th><td>{what}</td></tr>'
        for name, what in known.items()
        if name in present or name == "run.json"
    ]
    return section("Files to go on with", table(("File", "What it holds"), rows))
