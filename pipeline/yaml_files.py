"""YAML files of whoever wrote them: plain values only, and one sentence where they are none."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError, MissingPathError

LARGEST_BYTES = 10_000_000
LONGEST_REASON = 200  # characters of a parser's complaint


def read_yaml(path: Path, remedy: str) -> Any:
    """Read the values of a file; tags that make objects are refused.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do if the file is missing, such as "name a recipe like conf/demo.yaml".

    Raises
    ------
    MissingPathError, InputError
        If the file is missing, too large, not text or not YAML.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path} is larger than {LARGEST_BYTES:,} bytes; {remedy}")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingPathError(f"{path} does not exist; {remedy}") from None
    except OSError as error:  # a folder, or a name longer than a file's can be
        raise InputError(f"{str(path)[:200]} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid YAML: no text in UTF-8 ({error.reason})") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Any:
    """Read the values of a text that came from ``path``.

    Raises
    ------
    InputError
        If it is not YAML.
    """
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be what it should be") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        # The last three are what PyYAML stumbles over in dates and tags that are none.
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise InputError(f"{path} is not valid YAML: {reason}") from None
