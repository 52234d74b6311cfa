"""`freehold doctor`: what is installed, which engines run here, what is wrong and how to mend it."""

import asyncio
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.checks.engines import check_engines, check_ray
from freehold.cli.checks.home import check_home
from freehold.cli.checks.machine import check_machine
from freehold.cli.checks.models import check_models, sample_of
from freehold.cli.checks.result import Finding, Verdict, fail
from freehold.cli.checks.service import check_address, check_books, check_deployments
from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, visible
from freehold.config import Settings, load_settings, url_from_environment
from freehold.errors import FreeholdError
from freehold.log_lines import configure_logging
from freehold.store.home import Home

app = command_group()


@app.command(epilog="Example: freehold doctor --verify")
def doctor(
    verify: Annotated[bool, typer.Option("--verify", help="Read every model again and compare its digest.")] = False,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is installed, which engines run here, what is wrong and how to mend it.

    Changes nothing. Ends with exit code 1 if something must be mended; a warning alone is 0.
    """
    configure_logging("error")
    findings = asyncio.run(_examine(home_of(home), load_settings(config), verify=verify))
    if as_json:
        print_json({"object": "list", "data": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


async def _examine(root: Path, settings: Settings, *, verify: bool) -> list[Finding]:
    """Everything that is looked at, in the order of the report.

    With `FREEHOLD_URL` set, the deployments are that server's; all else is this machine's and this home's.
    """
    findings = [*check_machine(root), *check_home(root)]
    findings.append(await check_address(root, settings.server.host, settings.server.port))
    elsewhere = url_from_environment() is not None
    sample = None
    sound = not any(finding.verdict is Verdict.FAIL for finding in findings)
    if elsewhere or (sound and Home(root).database.exists()):
        try:
            async with open_control(root, settings) as control:
                if not elsewhere:
                    entries = (await control.request("GET", "/admin/models"))["data"]
                    findings += await check_models(root, entries, verify=verify)
                    sample = sample_of(root, entries)
                findings += await check_books(control)
                findings += await check_deployments(control)
        except FreeholdError as exc:
            findings.append(fail("service", exc.message, "mend what is named above, then try again"))
    return [*findings, *await check_engines(sample), check_ray()]


def _print(findings: list[Finding]) -> None:
    """A line a finding; under those that need it, how to mend it."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(f"{finding.verdict.value:<4}  {finding.check:<{width}}  {visible(finding.found)}")
        if finding.mend:
            print(f"{'':<4}  {'':<{width}}  mend: {visible(finding.mend)}")
    counts = Counter(finding.verdict for finding in findings)
    print()
    print(", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict))
