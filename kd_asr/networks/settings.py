"""Settings of the acoustic model and of its adaptation to speakers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kd_asr.settings.ranges import Above, AtLeast, Below, Unit


@dataclass(frozen=True)
class NetworkSettings:
    """The acoustic model: a multilayer perceptron on a window of frames (DNN), or a time-delay network (TDNN).

    Attributes:
        left_context: Frames before the classified one that a DNN sees (Hinton and others 2015: 20).
        right_context: Frames after the classified one that a DNN sees (Hinton and others 2015: 5).
        hidden_layers: Hidden layers of a DNN (Hinton and others 2015: 8).
        dilations: Distances, in frames, between the three frames of the layer below that a hidden layer of a TDNN sees,
            one for each hidden layer; empty: the network is a DNN.
        hidden_units: Rectified linear units in each hidden layer (Hinton and others 2015: 2560).
        dropout: Probability that a hidden unit is dropped in training.
        input_dropout: Probability that an input is dropped in training.
        batch_normalisation: Whether the input of each hidden layer is normalised over the batch (Ioffe and Szegedy
            2015).
        initial_scale: Scale of the hidden layers' initial weights, relative to those of He and others (2015).
        principal_components: Principal components of the window that the first layer of a DNN sees while it is trained;
            0: the window itself. The saved network takes windows in both cases.
        whitening: Share of the components' differences in variance that is removed: 0 nothing, 1 all.
    """

    left_context: Annotated[int, AtLeast(0), Unit("frames")] = 7
    right_context: Annotated[int, AtLeast(0), Unit("frames")] = 7
    hidden_layers: Annotated[int, AtLeast(0)] = 3
    dilations: tuple[Annotated[int, AtLeast(1), Unit("frames")], ...] = ()
    hidden_units: Annotated[int, AtLeast(1)] = 384
    dropout: Annotated[float, AtLeast(0), Below(1)] = 0.1
    input_dropout: Annotated[float, AtLeast(0), Below(1)] = 0.0
    batch_normalisation: bool = True
    initial_scale: Annotated[float, Above(0)] = 1.0
    principal_components: Annotated[int, AtLeast(0)] = 0
    whitening: Annotated[float, AtLeast(0)] = 0.5

    @property
    def context(self) -> tuple[int, int]:
        """Frames that an output depends on, before and after its own."""
        if self.dilations:
            return sum(self.dilations), sum(self.dilations)
        return self.left_context, self.right_context

    def problems(self) -> list[str]:
        """What does not go together."""
        if self.dilations and self.principal_components:
            return ["principal_components: a network with network.dilations sees no window to take them of"]
        return []


@dataclass(frozen=True)
class AdaptSettings:
    """Speaker adaptation without transcripts, when dev, test and audio of one's own are scored or recognised.

    Attributes:
        prior_frames: Frames for which the training set's means and variances in batch normalisation count, against the
            speaker's own frames; 0: networks stay as they were trained. 8000 suit networks that saw few speakers.
        most_frames: Most frames of a speaker that are measured.
    """

    prior_frames: Annotated[int, AtLeast(0), Unit("frames")] = 0
    most_frames: Annotated[int, AtLeast(2), Unit("frames")] = 30_000
