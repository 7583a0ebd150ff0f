"""What other stages wrote for the page, as JSON."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, MissingPathError


def read_result(path: Path, remedy: str) -> Any:
    """Read what a stage found out; what is in it is for the caller to check.

    Parameters
    ----------
    path : Path
    remedy : str
        How it is made.

    Raises
    ------
    MissingPathError, InputError
        If it is not there, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingPathError(f"{path} does not exist; {remedy}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable; {remedy}") from error
