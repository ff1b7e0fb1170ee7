"""Presets: settings for a budget, one YAML file each, which are part of the package."""

from __future__ import annotations

from pathlib import Path

from kd_asr.errors import UserError
from kd_asr.nearest import did_you_mean

FOLDER = Path(__file__).parent
# Begins the file names of the presets for digits.
DIGITS = "mnist_"


def preset_names(*, digits: bool = False) -> list[str]:
    """Names of the presets for speech, or for digits (without the `mnist_` of their files), sorted."""
    stems = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if digits:
        return [stem.removeprefix(DIGITS) for stem in stems if stem.startswith(DIGITS)]
    return [stem for stem in stems if not stem.startswith(DIGITS)]


def find_preset(name: str, *, digits: bool = False) -> Path:
    """The YAML file of a preset.

    Args:
        name: of a preset, or the path of a YAML file (anything that ends in .yaml or .yml, or has a slash).
        digits: look among the presets for digits, whose names may be given with or without `mnist_`.

    Raises:
        UserError: there is no such preset, or no such file.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not path.is_file():
            raise UserError(f"there is no settings file {path}")
        return path
    plain = name.removeprefix(DIGITS) if digits else name
    names = preset_names(digits=digits)
    if plain not in names:
        raise UserError(f"unknown preset '{name}'{did_you_mean(plain, names)}; there are: {' '.join(names)}")
    return FOLDER / f"{DIGITS if digits else ''}{plain}.yaml"
