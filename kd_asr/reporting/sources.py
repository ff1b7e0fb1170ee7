"""How a corpus is named in reports, so that synthetic speech can never be mistaken for LibriSpeech."""

from __future__ import annotations

from kd_asr.corpora.settings import CorpusSettings


def source_label(corpus: CorpusSettings) -> str:
    """For the title of a plot."""
    if corpus.source == "embedded":
        return "SYNTHETIC speech (embedded corpus, espeak-ng), not LibriSpeech"
    if corpus.source == "librispeech":
        return f"LibriSpeech (train {corpus.train}, dev {corpus.dev}, test {corpus.test})"
    return f"{corpus.source} (train {corpus.train}, dev {corpus.dev}, test {corpus.test})"


def report_title(corpus: CorpusSettings) -> str:
    """For the head of the page and of the console's table."""
    return f"Distillation on {source_label(corpus)}"


def source_description(corpus: CorpusSettings) -> str:
    """One sentence for the page."""
    if corpus.source == "embedded":
        return (
            "The speech of this run was made by espeak-ng from a small grammar, with noise and reverberation: its "
            "figures show that the pipeline works, and say nothing of real speech."
        )
    return "The speech of this run is read from a folder in LibriSpeech's layout."
