"""`--methods` in short: names with commas, or `all`, every method that a run can do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.registry import named, names
from kd_asr.settings.fields import dump
from kd_asr.stages.settings import Settings

ALL = "all"
_FLAG = "--methods="
_NAMES = r"[\w.:]+(,[\w.:]+)*"
Of = TypeVar("Of", Settings, MnistSettings)


def with_methods(flags: Sequence[str], parse: Callable[[Sequence[str]], Of], check: Callable[[Of], None]) -> list[str]:
    """Flags with every value of `--methods` as a list of methods.

    Args:
        flags: such as `--methods=all` or `--methods=hinton,mutual`.
        parse: settings from flags.
        check: raises a `UserError` where the methods of settings cannot work.

    Raises:
        UserError: the other flags cannot be parsed, or the methods of preset or file cannot work.
    """
    expanded = []
    for number, flag in enumerate(flags):
        text = flag.removeprefix(_FLAG).strip()
        if flag.startswith(_FLAG) and text == ALL:
            if any(later.startswith(_FLAG) for later in flags[number + 1 :]):
                continue  # as of every setting, the last value counts
            others = [one for one in flags if not one.startswith((_FLAG, "--methods."))]
            expanded.append(_FLAG + json.dumps(_all_methods(parse(others), check)))
        elif flag.startswith(_FLAG) and re.fullmatch(_NAMES, text):
            expanded.append(f"{_FLAG}[{text.replace(',', ', ')}]")
        else:
            expanded.append(flag)
    return expanded


def _all_methods(settings: Of, check: Callable[[Of], None]) -> object:
    """The methods that the settings have, and then the other registered ones that can work, in plain form."""
    check(settings)
    has = {method.name for method in settings.methods}
    for name in names("method"):
        if name in has:
            continue
        more = replace(settings, methods=(*settings.methods, named("method", name)))
        try:
            check(more)
        except UserError as error:
            say(f"the method {name} is left out: {error}")
        else:
            settings = more
    say(f"methods: {', '.join(method.name for method in settings.methods)}")
    return dump(settings)["methods"]
