"""The errors people see: one clear sentence that names the file, the value and the remedy."""

LONGEST = 1500  # characters of a sentence that can still be read


class HearingAnalysisError(Exception):
    """Base class of every error this project raises on purpose."""

    def __str__(self) -> str:
        # A message repeats what a file holds, which may be as long as whoever made it liked. Nor is
        # it to be what FileNotFoundError would print, the repr of its arguments.
        text = str(self.args[0]) if self.args else ""
        half = LONGEST // 2
        return text if len(text) <= LONGEST else f"{text[:half]} … {text[-half:]}"


class InputError(HearingAnalysisError, ValueError):
    """A value the user gave cannot be used; the command line exits with status 2."""


class MissingPathError(HearingAnalysisError, FileNotFoundError):
    """A file or folder the user named does not exist; the command line exits with status 2."""


class ClipError(HearingAnalysisError, ValueError):
    """One clip cannot be processed; it is quarantined with this message as its reason."""


class CheckFailed(HearingAnalysisError):
    """The command ran, and what it checked is not true; the command line exits with status 1."""
