"""Warning above the results of runs that say nothing of quality."""

from __future__ import annotations

from kd_asr.text import in_markdown

_SMALLEST = "tiny"  # preset, on speech and, with `mnist_` before it, on digits


def banner(preset: str) -> str:
    """Warning about a preset that only tries everything out; empty for others."""
    if preset.rsplit("_", maxsplit=1)[-1] != _SMALLEST:
        return ""
    return f"Preset {preset}: shows the path, not the quality. Its figures say nothing about distillation."


def banner_in_markdown(preset: str) -> list[str]:
    """The warning as a paragraph of Markdown, if there is one."""
    return [f"**{in_markdown(banner(preset))}**"] if banner(preset) else []
