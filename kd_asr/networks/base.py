"""What every network has: settings of its own, a view of utterances, and middle layers that can be tapped.

A network is one file in this folder: a class with `@network("name")` and its settings, a frozen dataclass called
`...Settings`. The contract tests, `tests/networks/test_every_network.py`, find it by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from kd_asr.errors import UserError
from kd_asr.features.inputs import Indexable
from kd_asr.networks.outputs import Outputs
from kd_asr.networks.views import View
from kd_asr.registry import Named, find

Own = TypeVar("Own", bound="Network")
# Name of the layer in the middle of a network's taps, whatever it is called.
MIDDLE = "middle"


class Network(nn.Module):
    """A network from inputs to logits.

    Input (batch, ...) float, a row of `math.prod(input_shape)` numbers unless its view shows something else. Output
    (batch, num_classes) logits; where an example has several labels, (batch * labels, num_classes), example by
    example.

    Attributes:
        Settings: Frozen dataclass of the settings.
        row_axis: Axis of the inputs that can be padded with zeros at its end, because outputs along it do not depend on
            each other in evaluation mode: 0, the examples; 1, the frames of a single example.
        input_shape: Shape of an input: (frames, bins) of a window, (height, width) of an image, (bins,) of a stretch of
            frames.
        num_classes: Number of outputs.
        settings: Settings of this network.
        head_layer: Submodule with the logits of several heads for the same classes, (labels, heads * classes), of which
            the network's logits are the mean posterior; empty: it has one head.
        only_labelled: In evaluation mode, whether outputs are wanted only for the labels of a training example, and not
            for every frame. The same for most networks.
        stacks: Whether several of them can be trained as one, see `networks.stack`.
    """

    Settings: ClassVar[type[Any]]
    row_axis: int = 0
    head_layer: ClassVar[str] = ""
    only_labelled: bool = False
    stacks: ClassVar[bool] = True

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, settings: Any) -> None:
        """Draw the initial weights from torch's global generator."""
        super().__init__()
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.settings = settings

    @classmethod
    def view(cls, settings: Any) -> View:
        """View by which a network with these settings sees utterances."""
        raise UserError(f"the network {cls.__name__} has no view, so it cannot see utterances: give it a method `view`")

    @classmethod
    def problems(cls, settings: Any, input_shape: tuple[int, ...]) -> list[str]:
        """Sentences about settings that cannot work with inputs of this shape, each beginning with a field's name."""
        return []

    @classmethod
    def refuses(cls, settings: Any) -> str:
        """A sentence on why these settings can work with no inputs at all; empty: they can."""
        return ""

    @classmethod
    def for_training(
        cls: type[Own], inputs: Indexable, input_shape: tuple[int, ...], num_classes: int, settings: Any
    ) -> Network:
        """A new network to be trained on these inputs; `as_saved` turns it into the one that is kept."""
        return cls(input_shape, num_classes, settings)

    def begin(self, updates: int) -> None:
        """Learn the number of updates of a training that is about to begin or to go on."""

    def as_saved(self) -> Network:
        """The same function as a network of the class that is registered."""
        return self

    def start_from(self, saved: Network) -> None:
        """Take the weights of a network as `as_saved` gave it, of the same class and settings."""
        self.load_state_dict(saved.state_dict())

    @property
    def own_view(self) -> View:
        """View by which this network sees utterances."""
        return self.view(self.settings)

    @property
    def input_size(self) -> int:
        """Numbers in one input, or in one frame of it."""
        return math.prod(self.input_shape)

    @property
    def taps(self) -> Mapping[str, int]:
        """Middle layers that `outputs_of` can read: name of the submodule, and width."""
        return {}

    def tapped(self, name: str) -> nn.Module:
        """The submodule of a tap."""
        return self.get_submodule(name)

    def tap_rows(self, name: str, outputs: Tensor) -> Tensor:
        """(labels, width) outputs of a tap's submodule, one row for each row of logits."""
        return outputs


def outputs_of(model: nn.Module, inputs: Tensor, taps: Collection[str] = ()) -> Outputs:
    """Logits of any module from inputs to logits, those of its heads if it has several, and the outputs of some of its
    submodules in the same pass.

    Raises:
        UserError: the model has no such tap.
    """
    found: dict[str, Tensor] = {}
    heads: list[Tensor] = []
    with _tapping(model, taps, found, heads):
        logits = model(inputs)
    of_heads = heads[0].view(len(logits), -1, logits.shape[1]).transpose(0, 1) if heads else None
    return Outputs(logits, found, of_heads)


@contextmanager
def _tapping(
    model: nn.Module, taps: Collection[str], found: dict[str, Tensor], heads: list[Tensor]
) -> Iterator[None]:
    handles = []
    network = _unwrapped(model)
    if isinstance(network, Network) and network.head_layer:
        layer = network.get_submodule(network.head_layer)
        handles.append(layer.register_forward_hook(lambda module, inputs, outputs: heads.append(outputs)))

    def tap(asked: str) -> None:
        name, submodule = _tapped(network, asked)

        def keep(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
            found[asked] = network.tap_rows(name, outputs) if isinstance(network, Network) else outputs

        handles.append(submodule.register_forward_hook(keep))

    try:
        for name in taps:
            tap(name)
        yield
    finally:
        for handle in handles:
            handle.remove()


def tap_width(taps: Mapping[str, int], name: str, *, who: str) -> int:
    """Width of a middle layer, by its name or as `middle`.

    Args:
        taps: a network's middle layers.
        name: the layer.
        who: the network, for the message.

    Raises:
        UserError: there is no such layer.
    """
    return taps[_tap_name(taps, name, who)]


def taps_of(network: Named, input_shape: tuple[int, ...]) -> Mapping[str, int]:
    """Middle layers of a network, by name with their widths, without making its weights."""
    with torch.device("meta"):
        return network_class(network.name)(input_shape, 2, network.settings).taps


def _tap_name(taps: Mapping[str, int], name: str, who: str) -> str:
    names = list(taps)
    if name == MIDDLE and names:
        return names[len(names) // 2]
    if name not in taps:
        raise UserError(f"{who} has no middle layer {name!r}: choose one of {', '.join(names) or 'none'}")
    return name


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside of what wraps it for training as `module`."""
    while not isinstance(model, Network) and isinstance(getattr(model, "module", None), nn.Module):
        model = model.get_submodule("module")
    return model


def _tapped(model: nn.Module, name: str) -> tuple[str, nn.Module]:
    """Name and submodule of a tap; any submodule, of a module that is no `Network`."""
    if isinstance(model, Network):
        name = _tap_name(model.taps, name, type(model).__name__)
        return name, model.tapped(name)
    modules = {inner: module for inner, module in model.named_modules() if inner}
    name = _tap_name(dict.fromkeys(modules, 0), name, type(model).__name__)
    return name, modules[name]


def network_class(name: str) -> type[Network]:
    """The class of a registered network, or of an import path.

    Raises:
        UserError: there is none, or it is no `Network`.
    """
    found = find("network", name)
    if not issubclass(found, Network):
        raise UserError(f"the network {name!r} is not a subclass of kd_asr.networks.base.Network: derive it from that")
    return found


def view_of(network: Named) -> View:
    """View by which a network sees utterances."""
    return network_class(network.name).view(network.settings)


def problems_of(network: Named, input_shape: tuple[int, ...]) -> list[str]:
    """Sentences about settings that cannot work with inputs of this shape, each beginning with a field of the
    network."""
    cls = network_class(network.name)
    return [f"{network.name}.{problem}" for problem in cls.problems(network.settings, input_shape)]


def new_network(
    network: Named, inputs: Indexable, input_shape: tuple[int, ...], num_classes: int, seed: int
) -> Network:
    """The network that `seed` draws, to be trained on these inputs; torch's global generator is left as it was.

    Weights are drawn on the host, so that they are the same whatever device they are moved to.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network_class(network.name).for_training(inputs, input_shape, num_classes, network.settings)


def seeded(network: Named, input_shape: tuple[int, ...], num_classes: int, seed: int) -> Network:
    """A network whose initial weights depend only on `seed`; torch's global generator is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network_class(network.name)(input_shape, num_classes, network.settings)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters of a model, those in 8 bits among them, which are buffers."""
    of_eight_bits = (buffer for buffer in model.buffers() if buffer.dtype == torch.int8)
    return sum(tensor.numel() for tensor in (*model.parameters(), *of_eight_bits))
