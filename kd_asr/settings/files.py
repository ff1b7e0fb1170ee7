"""Settings read from a YAML file and flags, and the settings file of a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from kd_asr.errors import UserError
from kd_asr.settings.build import AnySettings, SettingsClass, build
from kd_asr.settings.fields import defaults, dump
from kd_asr.settings.merge import merge_section, with_flags
from kd_asr.settings.yaml_text import Marked, YamlError, read_yaml, write_yaml

SETTINGS_FILE = "settings.yaml"
# So many sections that a kind of run does not have are no slip of the pen.
_OF_ANOTHER_KIND = 3


def parse_settings_of(cls: type[AnySettings], flags: Sequence[str], config: Path | None = None) -> AnySettings:
    """Settings from their defaults, a YAML file and flags, each overriding the one before.

    Args:
        cls: frozen dataclass of the settings.
        flags: flags such as `["--train.epochs", "8"]`.
        config: YAML file; missing keys have their defaults.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown (the nearest known one is named), a value has the
            wrong type or is out of its range. Errors in the file name the file.
    """
    content: Any = defaults(cls)
    if config is not None:
        content = merge_section(cls, content, _read(config))
    content, wrong = with_flags(cls, content, flags)
    return build(cls, content, file=config, wrong_flags=wrong)


def names_no_preset(path: Path) -> bool:
    """Whether a settings file leaves out `preset`, so that its own name is that of the budget."""
    return "preset" not in _read(path)


def _strange(cls: type[AnySettings], path: Path) -> list[str]:
    """Keys of a settings file at its highest level that these settings do not have; none of what is no such file."""
    try:
        return sorted(set(_read(path)) - {item.name for item in fields(cls)})
    except UserError:
        return []


def _read(path: Path) -> Any:
    """Content of a settings file."""
    if not path.is_file():
        raise UserError(f"there is no settings file {path}")
    try:
        text = path.read_text(encoding="utf-8")
        content = read_yaml(text)
    except (YamlError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not text.strip():
        raise UserError(f"{path} is empty: write `key: value` lines, or a comment if all have their defaults")
    if content is None:
        return Marked()
    if not isinstance(content, Marked):
        what = "a list" if isinstance(content, list) else "a single value"
        raise UserError(f"{path} must hold `key: value` lines, not {what}")
    return content


def save_settings(run_dir: Path, settings: SettingsClass) -> None:
    """Write all settings to `settings.yaml` in a run folder."""
    temporary = run_dir / f".{SETTINGS_FILE}.tmp"
    temporary.write_text(write_yaml(dump(settings)), encoding="utf-8")
    temporary.replace(run_dir / SETTINGS_FILE)


def load_settings_of(cls: type[AnySettings], run_dir: Path, command: str) -> AnySettings:
    """Settings of a run, written by `kd-asr COMMAND`.

    Raises:
        UserError: the folder has no settings, or they are wrong.
    """
    path = run_dir / SETTINGS_FILE
    if not path.is_file():
        raise UserError(f"{run_dir} is not a run folder (no {SETTINGS_FILE}): run `kd-asr {command} {run_dir}` first")
    try:
        return parse_settings_of(cls, [], path)
    except UserError as error:
        strange = _strange(cls, path)
        if len(strange) >= _OF_ANOTHER_KIND:
            raise UserError(
                f"{run_dir} is a run of another kind than `kd-asr {command}` makes, with the settings "
                f"{', '.join(strange)}: name a run of that command, or use a command for runs of this kind"
            ) from error
        where = "" if str(path) in str(error) else f"{path}: "
        raise UserError(f"{where}{error}; run `kd-asr {command} {run_dir}` again") from error
