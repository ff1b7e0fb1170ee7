"""Colours of the groups of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.colors import hsv_to_rgb, to_hex

from kd_asr.jobs.systems import Group, Systems

# Okabe and Ito's colours, which colour-blind readers can tell apart; without yellow, too light for a line on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_GOLDEN = 0.618033988749895  # consecutive hues are far apart


def coloured(systems: Systems) -> Systems:
    """The systems with a colour for every group: its own, or the next unused colour of the palette."""
    return replace(systems, groups=tuple(coloured_groups(systems.groups)))


def coloured_groups(groups: Sequence[Group]) -> list[Group]:
    """Groups with colours, as in `coloured`."""
    taken = {to_hex(group.colour) for group in groups if group.colour}
    free = [colour for colour in PALETTE if to_hex(colour) not in taken]
    free += [to_hex(tuple(hsv_to_rgb(((_GOLDEN * number) % 1, 0.75, 0.7)))) for number in range(len(groups))]
    left = iter(free)
    return [group if group.colour else replace(group, colour=next(left)) for group in groups]
