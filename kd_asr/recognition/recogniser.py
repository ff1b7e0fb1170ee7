"""Everything that recognition needs, wherever it comes from: a run or an export folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from kd_asr.decoding.decoder import Search
from kd_asr.errors import UserError
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.jobs.systems import Average
from kd_asr.stages.settings import Settings

Engine = Literal["torch", "onnx", "int8"]
ENGINES: tuple[str, ...] = get_args(Engine)
ENDINGS: dict[Engine, str] = {"torch": ".safetensors", "onnx": ".onnx", "int8": ".int8.onnx"}


@dataclass(frozen=True)
class Recogniser:
    """A trained system with what it needs to recognise speech.

    Attributes:
        name: name of the system, such as `student-00`.
        settings: of the run; of its sections only features, spelling, lexicon, align, adapt, decode, rescore, and the
            precision of `train` are read.
        networks: weights of each network, `*.safetensors`, combined if several.
        average: how they are combined.
        prior: (pdfs,) log share of the training frames of each pdf.
        topology: file with the HMM states of the phones.
        lexicon: file with the pronunciations.
        usual: usual speaker of the training set; None in a run of an older version, which has none.
        longest_phone: frames that no phone lasts, see `alignment.doubts.longest_phone`.
        graph: folder of the decoding graph; None: the system can only align.
        search: parameters of the search; None: as for `graph`.
        engine: what computes the networks' outputs.
    """

    name: str
    settings: Settings
    networks: tuple[Path, ...]
    average: Average
    prior: tuple[float, ...]
    topology: Path
    lexicon: Path
    usual: UsualSpeaker | None
    longest_phone: int
    graph: Path | None = None
    search: Search | None = None
    engine: Engine = "torch"

    @property
    def stride(self) -> int:
        """Distance of the frames that have scores."""
        return self.settings.targets.stride

    @property
    def log_prior(self) -> np.ndarray:
        """(pdfs,) float32, `prior` as an array."""
        return np.asarray(self.prior, dtype=np.float32)

    @property
    def searches_with(self) -> tuple[Path, Search]:
        """Graph and parameters of the search.

        Raises:
            UserError: the system can only align.
        """
        if self.graph is None or self.search is None:
            raise UserError(f"{self.name} has no decoding graph, so it can only align")
        return self.graph, self.search

    @property
    def engine_files(self) -> tuple[Path, ...]:
        """The file of each network that the engine reads."""
        return tuple(path.with_name(path.stem + ENDINGS[self.engine]) for path in self.networks)

    def check_engine(self) -> None:
        """Raise a `UserError` if the system has not been exported for its engine."""
        missing = [path for path in self.engine_files if not path.is_file()]
        if missing and self.engine != "torch":
            raise UserError(
                f"--engine {self.engine}: there is no {missing[0]}: write an export folder that has it with "
                "`kd-asr export`, and name that folder"
            )
