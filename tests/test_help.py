"""``--help`` answers at once, for every command, and says what every option does."""

import typer.main
from help_texts import HEAVY, help_texts
from test_docs import COMMANDS, PROGRAMS, commands_of


def test_help_is_there_for_every_command() -> None:
    missing = [
        name for name in COMMANDS if not help_texts().texts.get(name, "").startswith("Usage")
    ]

    assert missing == []


def test_no_help_loads_what_takes_long() -> None:
    assert help_texts().loaded == []
    assert {"torch", "tensorflow", "transformers", "librosa", "faiss", "sklearn"} <= set(HEAVY)


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{name} {option.opts[0]}"
        for program, app in PROGRAMS.items()
        for name, command in commands_of(program, typer.main.get_command(app))
        for option in command.params
        if option.param_type_name == "option" and not (option.help or "").strip()
    ]

    assert silent == []
