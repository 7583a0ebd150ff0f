"""The errors people see: one clear sentence that names the file, the value and the remedy."""


class HearingAnalysisError(Exception):
    """Base class of every error this project raises on purpose."""


class InputError(HearingAnalysisError, ValueError):
    """A value the user gave cannot be used; the command line exits with status 2."""


class MissingPathError(HearingAnalysisError, FileNotFoundError):
    """A file or folder the user named does not exist; the command line exits with status 2."""

    def __str__(self) -> str:
        # FileNotFoundError would print the repr of its arguments.
        return str(self.args[0]) if self.args else ""


class ClipError(HearingAnalysisError, ValueError):
    """One clip cannot be processed; it is quarantined with this message as its reason."""


class CheckFailed(HearingAnalysisError):
    """The command ran, and what it checked is not true; the command line exits with status 1."""
