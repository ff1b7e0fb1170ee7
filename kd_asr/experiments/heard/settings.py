"""Settings of the experiment `privileged` on speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kd_asr.distillation.objectives import hinton_losses
from kd_asr.registry import Weighted
from kd_asr.settings.ranges import AtLeast, AtMost, Distinct, NotEmpty, Unit

Case = Literal["noisy", "telephone", "low_latency"]


@dataclass(frozen=True)
class HeardSettings:
    """Privileged information (Lopez-Paz and others 2016): students hear less than their teachers do.

    The teachers are the run's ensemble, on clean speech in its full band, with all frames of context. Test and dev are
    what students hear.

    Attributes:
        cases: Students that hear speech in noise (`noisy`), by way of a telephone (`telephone`), or no frame after the
            one that they label (`low_latency`).
        students: Students of each kind in each case, with different seeds.
        teachers: Networks of the teachers without the privilege, which hear what students hear; null: as many as the
            ensemble has.
        least_snr_db: Least power of the speech relative to the noise; each utterance's is drawn.
        most_snr_db: Largest power of the speech relative to the noise.
        losses: Losses of the distilled students and their weights.
    """

    cases: Annotated[tuple[Case, ...], NotEmpty, Distinct()] = ("noisy", "telephone", "low_latency")
    students: Annotated[int, AtLeast(1), AtMost(1000)] = 3
    teachers: Annotated[int | None, AtLeast(1), AtMost(1000)] = None
    least_snr_db: Annotated[float, AtLeast(-40), AtMost(100), Unit("dB")] = 0.0
    most_snr_db: Annotated[float, AtLeast(-40), AtMost(100), Unit("dB")] = 15.0
    losses: tuple[Weighted, ...] = hinton_losses(temperature=2.0, soft_weight=1.0, hard_weight=0.5)

    def problems(self) -> list[str]:
        """Powers in the wrong order."""
        if self.least_snr_db <= self.most_snr_db:
            return []
        return [f"least_snr_db: {self.least_snr_db:g} is more than most_snr_db, {self.most_snr_db:g}"]
