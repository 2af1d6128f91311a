"""The command line. Every way of ending has its own exit code.

0 done, 1 the experiment failed or was interrupted, 2 the user's input, 3 our fault.
"""

from __future__ import annotations

import logging
import sys
import traceback
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from antumbra.configuration import load_configuration
from antumbra.plan import make_plan
from antumbra.problems import ConfigurationError
from antumbra.progress import Progress
from antumbra.report import print_plan, print_result
from bridge.errors import AntumbraError, InternalError
from bridge.partition import partition_text, write_partition

_OUR_FAULT = "this is a mistake in Antumbra, not in your experiment"
_WIDTH_OF_FILES = 120
_LOG_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}

app = typer.Typer(
    name="antumbra",
    help="Network experiments with real programs in virtual time, and a computed tail of a million peers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class StraceLoggingMode(Enum):
    """How system calls are logged."""

    OFF = "off"
    STANDARD = "standard"
    DETERMINISTIC = "deterministic"


ConfigurationFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration file (YAML).")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"antumbra {metadata.version('antumbra')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigurationFile,
    directory: Annotated[
        Path | None,
        typer.Option("-d", "--directory", "--data-directory", metavar="DIR", help="Where the run's directory is made."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Override general.seed.")] = None,
    stop_time: Annotated[str | None, typer.Option(metavar="T", help="Override general.stop_time ('10 s').")] = None,
    progress: Annotated[bool, typer.Option("--progress", help="Show on stderr how far the run is.")] = False,
    strace_logging_mode: Annotated[
        StraceLoggingMode | None, typer.Option(help="Override experimental.strace_logging_mode.")
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of processes to divide it among; changes no result."),
    ] = None,
    partition_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Override distributed.partition_file.")
    ] = None,
) -> None:
    """Run the experiment in CONFIG, and report what happened."""
    from antumbra.assembly import run as run_experiment
    from bridge.mpi_bus import world_rank

    configuration = load_configuration(
        config,
        seed=seed,
        stop_time=stop_time,
        strace_logging_mode=strace_logging_mode.value if strace_logging_mode else None,
        partition_file=str(partition_file) if partition_file else None,
    )
    general = configuration.sections.general
    _log_to_stderr(general.log_level)
    plan = make_plan(configuration)
    first = world_rank() == 0
    for note in plan.notes if first else ():
        logging.getLogger("antumbra").info("%s", note)
    with Progress(general.stop_time, sys.stderr, enabled=first and (progress or general.progress)) as shown:
        try:
            result = run_experiment(plan, directory, shards=shards, on_progress=shown)
        except KeyboardInterrupt:
            Console(stderr=True).print("[yellow]interrupted[/]: the run directory holds what was written so far")
            raise typer.Exit(1) from None
    if first:
        print_result(_console(), result)
    raise typer.Exit(result.exit_code)


@app.command()
def check(config: ConfigurationFile) -> None:
    """Check CONFIG and everything that it names, and print the plan, without running it."""
    print_plan(_console(), make_plan(load_configuration(config)))


@app.command()
def partition(
    config: ConfigurationFile,
    shards: Annotated[int, typer.Option("-n", "--shards", min=1, metavar="N", help="Number of shards.")],
    traffic: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What an earlier run measured: metrics/traffic.parquet in its directory."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where it is written; to stdout by default.")
    ] = None,
) -> None:
    """Divide the hosts of CONFIG among N shards: near ones together, or those that talk; and loads about equal."""
    from antumbra.sharding import propose_partition

    plan = make_plan(load_configuration(config))
    proposed = propose_partition(plan, shards, traffic)
    if output is None:
        typer.echo(partition_text(proposed, plan.directory), nl=False)
    else:
        write_partition(output, proposed, plan.directory)


RunDirectories = list[Path]


@app.command()
def compare(
    reference: Annotated[RunDirectories, typer.Option("--reference", "-r", help="A run to compare with; repeatable.")],
    candidate: Annotated[RunDirectories, typer.Option("--candidate", "-c", help="A run in question; repeatable.")],
    noise: Annotated[
        RunDirectories | None,
        typer.Option("--noise", "-n", help="Another reference run with its own seed, for the noise floor; repeatable."),
    ] = None,
    observable: Annotated[
        list[str] | None, typer.Option("--observable", help="What to compare; repeatable. All by default.")
    ] = None,
    peers: Annotated[
        list[str] | None, typer.Option("--peers", help="Names of the hosts to compare, with * and ?; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the table is written as files.")] = None,
) -> None:
    """Compare finished runs: distances with confidence intervals, beside the noise floor."""
    from calibration.compare import compare_command

    code = compare_command(
        reference,
        candidate,
        noise or (),
        console=_console(),
        observables=observable or (),
        peers=peers or ("*",),
        output=output,
    )
    raise typer.Exit(code)


@app.command()
def doctor() -> None:
    """Try out whether this machine has what Antumbra needs."""
    from antumbra.doctor import run_doctor

    raise typer.Exit(run_doctor(_console()))


def main() -> NoReturn:
    """Run the command line, and turn whatever ends it into a message and an exit code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app(args=arguments, prog_name="antumbra")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        errors.print("[red]interrupted[/]")
        return 1
    except ConfigurationError as error:
        for problem in error.problems:
            errors.print(f"[red]error:[/] {escape(problem.describe(error.file))}")
        return error.exit_code
    except AntumbraError as error:
        _print_error(errors, error)
        return error.exit_code
    except Exception:
        traceback.print_exc()
        errors.print(f"[red]error:[/] {_OUR_FAULT}")
        return InternalError.exit_code
    return 0


def _log_to_stderr(level: str) -> None:
    """Show what our own rooms log; that of the libraries they use is shown only where it warns."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for room in ("antumbra", "bridge", "cold", "hot"):
        logging.getLogger(room).setLevel(_LOG_LEVELS[level])


def _console() -> Console:
    """Return the console of stdout; where that is a file, tables get the width of a usual terminal window."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def _print_error(console: Console, error: AntumbraError) -> None:
    where = f"{error.where}: " if error.where else ""
    console.print(f"[red]error:[/] {escape(where + error.what)}")
    if error.hint:
        console.print(f"  {escape(error.hint)}")
    if error.exit_code == InternalError.exit_code:
        console.print(f"  {_OUR_FAULT}")
