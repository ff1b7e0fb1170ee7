"""A model that others have trained, which is asked by name about the audio itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from kd_asr.distillation.teachers.stored import StoredTeacher
from kd_asr.pretrained.base import checked
from kd_asr.registry import Named, named, teacher
from kd_asr.settings.ranges import AtLeast, AtMost, OfKind

# Artifact with its posteriors, in the classes of the run.
TARGETS = "pretrained_targets"


@dataclass(frozen=True)
class PretrainedSettings:
    """A model that others have trained, asked about the audio of train, of its copies (as it was before it was
    perturbed) and of unlabelled audio. Its classes become ours by a map of those that occur together in train; each of
    our frames takes that frame of the model in whose time its middle lies.

    Attributes:
        model: What is asked: `pocketsphinx` (senones), `hama` (IPA phones), `huggingface` or `torchaudio` (a CTC
            network by name), or a class of your own, `package.module:Class`.
        keep: Its classes to keep of each frame, the most probable ones.
        map_frames: Frames of train that the class map is learnt from, evenly spread utterances.
        ensemble_share: Share of our ensemble's posteriors in the soft targets beside the model's; 0: the model alone.
        slack: Difference in seconds that is allowed between the ends of an utterance.
    """

    model: Annotated[Named, OfKind("pretrained")] = field(default_factory=lambda: named("pretrained", "pocketsphinx"))
    keep: Annotated[int, AtLeast(1), AtMost(65535)] = 50
    map_frames: Annotated[int, AtLeast(1), AtMost(1_000_000_000)] = 300_000
    ensemble_share: Annotated[float, AtLeast(0), AtMost(1)] = 0.0
    slack: Annotated[float, AtLeast(0)] = 0.06


@teacher("pretrained")
class PretrainedTeacher(StoredTeacher):
    """Teacher whose posteriors the stage `pretrained` has computed and mapped to our classes."""

    Settings: ClassVar[type[Any]] = PretrainedSettings

    @classmethod
    def settled(cls, settings: Any) -> Any:
        """The settings as they are.

        Raises:
            UserError: the model gives no posteriors.
        """
        checked(settings.model, "posteriors")
        return settings
