"""``ngpd-fl doctor``: checks of the installation and the machine, with remedies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ngpd_fl.cli.errors import FAILED, Ended

if TYPE_CHECKING:
    from ngpd_fl.profiling.doctor import Finding

DataDir = Annotated[Path | None, typer.Option(metavar="DIR", help="folder that holds data sets")]
AsJson = Annotated[bool, typer.Option("--json", help="print everything as JSON, for a bug report")]

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "wrong": "[bold red]wrong[/]"}


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check versions, devices and data, train for two rounds, and report problems with their remedies.

    The exit code is 0 if everything that a run on CPUs needs works, else 1.
    """
    from rich.markup import escape
    from rich.table import Table

    from ngpd_fl.cli.console import results
    from ngpd_fl.profiling.doctor import diagnose
    from ngpd_fl.records.new_folder import RUNS

    if data_dir is not None and not data_dir.is_dir():
        from ngpd_fl.config import InputError

        raise InputError(f"--data-dir {data_dir}: is not a folder")
    findings = list(diagnose(data_dir, RUNS))
    wrong = [finding for finding in findings if finding.state == "wrong"]
    if as_json:
        content = {"well": not wrong, "findings": [finding._asdict() for finding in findings]}
        print(json.dumps(content, indent=2))
    else:
        console, table = results(), Table.grid(padding=(0, 3, 0, 0))
        section = ""
        for finding in _shortened(findings):
            if finding.section != section:
                section = finding.section
                table.add_row(*[""] * bool(table.rows))
                table.add_row(f"[bold]{section}[/bold]")
            table.add_row(f"  {escape(finding.name)}", _MARKS[finding.state], escape(finding.result))
            if finding.remedy and finding.state == "note":
                table.add_row("", "", f"[dim]{escape(finding.remedy)}[/dim]")
        console.print(table)
        console.print()
        if not wrong:
            console.print("[green]All is well.[/]")
        for finding in wrong:
            console.print(f"[bold red]{escape(finding.name)}[/] {escape(finding.result)}: {escape(finding.remedy)}")
    if wrong:
        raise Ended(f"{len(wrong)} {'thing is' if len(wrong) == 1 else 'things are'} wrong here", FAILED)


def _shortened(findings: list[Finding]) -> Iterator[Finding]:
    """Yield the findings, with all intact packages in one."""
    well = [
        check for check in findings if check.section == "versions" and check.state == "ok" and check.name != "python"
    ]
    for finding in findings:
        if finding not in well:
            yield finding
        elif finding is well[0]:
            yield finding._replace(name="packages", result=", ".join(f"{check.name} {check.result}" for check in well))
