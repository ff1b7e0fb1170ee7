"""The model card of an export folder: what the system is, what it was trained on, how well it does, licences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_asr import __version__
from kd_asr.artifacts import MANIFEST, load_artifact, read_json
from kd_asr.corpora.base import corpus_of
from kd_asr.networks.base import count_parameters
from kd_asr.networks.files import load_network
from kd_asr.recognition.recogniser import ENDINGS
from kd_asr.recognition.runs import TrainedSystem
from kd_asr.registry import name_of
from kd_asr.reporting.contents import main_table
from kd_asr.reporting.tables import Table, byte_size, count, duration, to_markdown
from kd_asr.settings.fields import dump
from kd_asr.text import in_markdown

# What is known of the speech whose licence is known; other corpora have their own.
_LICENCES = {
    "librispeech": "Speech in LibriSpeech's layout; LibriSpeech itself is CC BY 4.0 (V. Panayotov, G. Chen, D. Povey "
    "and S. Khudanpur, 2015): name it where you show the model.",
    "embedded": "The speech is synthetic, made by espeak-ng (GPL 3.0, of which the sound it makes is no part).",
}
_OTHER_LICENCE = "The licence of the speech decides what the model may be used for: look it up."
_DICTIONARY = "Pronunciations: CMUdict (BSD, copyright Carnegie Mellon University)."
_OWN_DICTIONARY = "Pronunciations: a dictionary of the user's, under its own licence; espeak-ng guessed the rest."


def model_card(
    system: TrainedSystem, folder: Path, networks: Sequence[str], converted: Mapping[str, Mapping[str, Any]]
) -> str:
    """The card as Markdown.

    Args:
        system: that is exported.
        folder: of the export, with its files but for this one.
        networks: names of its networks' files.
        converted: what was seen when each of them was written in other formats.
    """
    settings, corpus = system.settings, corpus_of(system.settings.corpus)
    prepared = load_artifact(system.run_dir, "prepare").metrics
    lines = [f"# {in_markdown(system.name)}", ""]
    lines += [f"A hybrid speech recogniser, trained and exported by kd_asr {__version__}: log-mel features, a network "
              "from them to HMM states, and a decoding graph.", ""]  # fmt: skip
    lines += ["    kd-asr transcribe THIS_FOLDER *.wav", "    kd-asr align-files THIS_FOLDER *.wav --out aligned", ""]
    lines += ["## Network", "", to_markdown(_network_table(folder, networks))]
    if len(networks) > 1:
        lines += [f"The {len(networks)} networks are averaged ({system.average}).", ""]
    features = ", ".join(f"{name} {value}" for name, value in dump(settings.features).items())
    lines += [f"Features: {features}.", ""]
    lines += [_converted_sentence(name, folder, found) for name, found in converted.items() if found]
    lines += ["## Trained on", "", f"{in_markdown(corpus.label)}. {in_markdown(corpus.description)}", ""]
    lines += [_sets_sentence(prepared), ""]
    lines += ["## Figures", "", *_figures(system), ""]
    speech = _LICENCES.get(settings.corpus.name, _OTHER_LICENCE)
    words = _OWN_DICTIONARY if settings.lexicon.path else _DICTIONARY
    lines += ["## Licences", "", f"- {speech}", f"- {words}", "- kd_asr: Apache 2.0.", ""]
    lines += ["## Limits", "", _LIMITS, ""]
    return "\n".join(lines)


_LIMITS = (
    "It knows the words of `graph/words.txt` only, and speech like that it was trained on: other accents, noise, far "
    "microphones and other languages give other figures than those above. The posterior of a word is not the "
    "probability that the word is right."
)


def _network_table(folder: Path, networks: Sequence[str]) -> Table:
    rows = []
    for name in networks:
        model = load_network(folder / name)
        shape = ", ".join(f"{key} {_shown(value)}" for key, value in dump(model.settings).items())
        size = byte_size((folder / name).stat().st_size)
        rows.append(
            (name, name_of("network", type(model)), str(model.num_classes), count(count_parameters(model)), size, shape)
        )
    return Table(("file", "network", "classes", "parameters", "size", "settings"), tuple(rows))


def _converted_sentence(name: str, folder: Path, found: Mapping[str, Any]) -> str:
    stem = name.removesuffix(ENDINGS["torch"])
    sizes = [
        f"`{stem}{ending}` has {byte_size((folder / f'{stem}{ending}').stat().st_size)}"
        for engine, ending in ENDINGS.items()
        if engine != "torch" and (folder / f"{stem}{ending}").is_file()
    ]
    text = f"{' and '.join(sizes)}. On real frames ONNX differs from torch by {found['onnx_difference']:.1g}"
    if "int8" in found:
        against = found["int8_against_fp32"]
        text += (
            f"; in 8 bits ({found['int8']}) the most probable class is the same for "
            f"{100 * against['same_class']:.1f} % of the frames, and the divergence is {against['divergence']:.4f} nats"
        )
    return f"{text}.\n"


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _sets_sentence(prepared: dict[str, Any]) -> str:
    parts = [
        f"{name}: {duration(one['seconds'])}, {count(one['utterances'])} utterances, {count(one['speakers'])} speakers"
        for name, one in prepared.items()
        if isinstance(one, dict) and "seconds" in one
    ]
    return f"{'; '.join(parts)}." if parts else "The run does not tell how much speech there was."


def _figures(system: TrainedSystem) -> list[str]:
    """The main table of the run's report, if there is one."""
    if not (system.run_dir / "report" / MANIFEST).is_file():
        return ["The run had no report when this folder was written."]
    report = read_json(load_artifact(system.run_dir, "report").path / "report.json")
    group = next((one["label"] for one in report["groups"] if one["name"] == system.group), "")
    of_this = f"This system is one of the row {in_markdown(group)}." if group else "No row is of this network alone."
    sentence = "Test was recognised once; the intervals are from a paired bootstrap over its utterances."
    return [f"{in_markdown(report['title'])}. {of_this} {sentence}", "", to_markdown(main_table(report))]
