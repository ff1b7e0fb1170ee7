"""What the commands share: a parser that says what is wrong in one sentence, help on settings, the run folder."""

from __future__ import annotations

import argparse
import math
import os
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.nearest import did_you_mean, nearest
from kd_asr.registry import names
from kd_asr.settings.fields import known_names, settings_of
from kd_asr.settings.help import help_text

_LONGEST_MESSAGE = 2000  # characters


class Lines(argparse.HelpFormatter):
    """Keeps the lines of descriptions and epilogs, and breaks those that are too long for the terminal: what follows a
    gap, as in `name  what it is`, stays in its column; the rest of a command follows a backslash."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(one for line in text.splitlines() for one in _broken(line, width))


def _broken(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip())
    apart = re.match(r"(\s*\S.*?\s{3,}|\s+\S+\s{2,}|\s{8,})(?=\S)", line)
    if apart and len(apart[1]) <= width // 2:
        return _wrapped(line[len(apart[1]) :], width, first=apart[1], then=" " * len(apart[1]))
    if apart and apart[1].strip():  # a command and what it does, which has a line of its own
        return [*_broken(apart[1].rstrip(), width), *_wrapped(line[len(apart[1]) :], width, first=" " * (indent + 4))]
    if apart:
        return _wrapped(line.strip(), width, first=" " * 6)
    if indent:  # a command
        parts = _wrapped(line.strip(), width - 2, first=" " * indent, then=" " * (indent + 4))
        return [f"{part} \\" for part in parts[:-1]] + parts[-1:]
    return _wrapped(line, width)


def _wrapped(text: str, width: int, *, first: str = "", then: str | None = None) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=first if then is None else then, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with the arguments, instead of repeating all of them.

    Attributes:
        settings: Class of the settings that the command takes as flags besides; they end its help.
    """

    settings: type | None = None

    def format_help(self) -> str:
        """The help, with every setting."""
        text = super().format_help()
        if self.settings is None:
            return text
        intro = "Any setting can be given as --section.key VALUE; these are all:"
        return f"{text}\n{intro}\n\n{help_text(self.settings)}\n"

    def _get_value(self, action: argparse.Action, arg_string: str) -> object:
        """A value of the type of its argument; a path is not empty, as that of a variable that is not set."""
        if action.type is Path and not arg_string:
            raise argparse.ArgumentError(action, "the name of a file or folder is empty")
        return super()._get_value(action, arg_string)

    def error(self, message: str) -> NoReturn:
        plain = re.sub(r"^argument (?:\S+/)?(--\S+): expected one argument$", r"\1 needs a value", message)
        choice = re.fullmatch(r"argument (\w+): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL)
        if choice:
            known = [one.strip(" '") for one in choice[3].split(",")]
            hint = did_you_mean(choice[2], known)
            plain = f"unknown {choice[1].lower()} '{choice[2]}'" + (hint or f"; there are: {', '.join(known)}")
        self.exit(fail(f"{plain}; see `{self.prog} --help`"))


def one_of(option: str, choices: Sequence[str]) -> Callable[[str], str]:
    """The type of an option that takes one of a few words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise UserError(f"{option} is {', '.join(choices[:-1])} or {choices[-1]}, not '{value}'")
        return value

    return parse


def whole_number(option: str, least: int, most: float = math.inf) -> Callable[[str], int]:
    """The type of an option that takes a whole number of `least` or more, and of `most` or less."""
    limits = f"of {least} or more" if most == math.inf else f"from {least} to {most}"

    def parse(value: str) -> int:
        if not re.fullmatch("0|[1-9][0-9]*", value) or not least <= int(value) <= most:
            raise UserError(f"{option} must be a whole number {limits}, not '{value}'")
        return int(value)

    return parse


def add_device_option(command: argparse.ArgumentParser, what: str) -> None:
    """Add `--device`, of which `what` says what is done there."""
    command.add_argument(
        "--device",
        metavar="auto|cpu|cuda|cuda:N",
        help=f"{what}: the processor, all graphics cards or one of them (default: auto, the cards if there are some)",
    )


def existing_folder(option: str) -> Callable[[str], Path]:
    """The type of an option that names a folder."""

    def parse(value: str) -> Path:
        if not value or not Path(value).is_dir():
            raise UserError(f"{option}: there is no folder '{value}'")
        return Path(value)

    return parse


def existing_file(option: str) -> Callable[[str], Path]:
    """The type of an option that names a file."""

    def parse(value: str) -> Path:
        if not Path(value).is_file():
            raise UserError(f"{option}: there is no file '{value}'")
        return Path(value)

    return parse


def fail(message: str) -> int:
    """Say what went wrong; the exit status of an error that the message explains."""
    if len(message) > _LONGEST_MESSAGE:
        # A quoted line may be a whole file. Beginning and end say where and what to do.
        half = _LONGEST_MESSAGE // 2
        message = f"{message[:half]} ... {message[-half:]}"
    say(f"kd-asr: error: {message}")
    return 2


def command_of(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that begins with these words, such as `run`, `speech`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words and words[0] in action.choices:
            return command_of(action.choices[words[0]], words[1:])
    return parser


def known_options(command: argparse.ArgumentParser) -> list[str]:
    """The options of a command, those of its help included."""
    return [name for action in command._actions for name in action.option_strings if name.startswith("--")]


def unknown_arguments(rest: Sequence[str], known: Sequence[str]) -> str:
    """The message for arguments that a command does not know, with the known one that is nearest to the first."""
    near = nearest(rest[0].partition("=")[0], known)
    hint = f"; do you mean {near}?" if near else f"; the options are {', '.join(known)}"
    return f"unrecognized arguments: {' '.join(rest)}{hint}"


def setting_flags(rest: Sequence[str], prog: str, settings: type, options: Sequence[str]) -> list[str]:
    """What is left of the arguments of a command that takes settings, as `--section.key=value` flags.

    Args:
        rest: what the parser did not know.
        prog: the command, for the message.
        settings: class of the settings.
        options: of the command, for the message.

    Raises:
        UserError: an argument is no setting, or a setting has no value.
    """
    flags: list[str] = []
    remaining = list(rest)
    while remaining:
        name, equals, value = remaining.pop(0).partition("=")
        first = re.fullmatch(r"--(\w+)((?:[.:]\w+)*)", name)
        if not first or not (first[2] or first[1] in settings_of(settings)):
            if not name.startswith("--"):
                raise UserError(f"'{name}' is no option and no setting of `{prog}`: write --section.key VALUE")
            near = nearest(name, [*options, *(f"--{one}" for one in known_names(settings))])
            if "--corpus" in options and first and first[1] in names("corpus"):
                near = f"--corpus {first[1]}"
            hint = f"; do you mean {near}?" if near else f"; the options are {', '.join(options)}"
            raise UserError(f"unknown option '{name}'{hint} (see `{prog} --help`)")
        if not equals:
            if not remaining:
                raise UserError(f"{name} needs a value (see `{prog} --help`)")
            value = remaining.pop(0)
        flags.append(f"{name}={value}")
    return flags


def obstacle(run: Path) -> Path | None:
    """What keeps a folder from being made and written into: a file, or a folder that cannot be written into."""
    place = run.absolute()
    while not place.exists():
        place = place.parent
    return None if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else place


def check_run_folder(run: Path) -> None:
    """Refuse a run folder that cannot be made or written into, without making it."""
    place = obstacle(run)
    if place is not None:
        why = "cannot be written into" if place.is_dir() else "is not a folder"
        raise UserError(f"{run} cannot be a run folder, because {place} {why}: choose another one")
