"""What can go wrong, by whose doing. The class decides the exit code of the program.

An error is for the person who will read it: what was wrong, where (file, key, host), and what would be right.
"""


class AntumbraError(Exception):
    """Base of every error that ends a run with a message instead of a traceback.

    Parameters
    ----------
    what
        What is wrong, as a sentence without its full stop.
    where
        The file, line, key or host it is about.
    hint
        What would be right.
    """

    exit_code: int = 3

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.hint is None else f"{text} ({self.hint})"


class ExperimentFailed(AntumbraError):
    """The experiment ran, and something in it ended otherwise than expected."""

    exit_code = 1


class UserError(AntumbraError):
    """The configuration, the command line or the machine must be changed by the user."""

    exit_code = 2


class InternalError(AntumbraError):
    """An invariant of the simulator is broken: our fault."""

    exit_code = 3
