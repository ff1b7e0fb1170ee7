"""Settings of the page of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.settings.ranges import AtLeast, AtMost, Unit


@dataclass(frozen=True)
class PageSettings:
    """The page `report/index.html`.

    Attributes:
        utterances: Utterances of test to hear and to see frame by frame, evenly spaced from the best to the worst
            recognised; the words of the others are shown as well.
        megabytes: Largest size of their audio and posteriors together; further ones are left out.
    """

    utterances: Annotated[int, AtLeast(0), AtMost(10_000), Unit("utterances")] = 24
    megabytes: Annotated[float, AtLeast(0), AtMost(10_000), Unit("MB")] = 40.0
