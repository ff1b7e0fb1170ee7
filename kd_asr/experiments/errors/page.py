"""The page and the tables of where words are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kd_asr.evaluation.wer import total_errors
from kd_asr.experiments.errors.causes import CAUSES, Examined, by, errors_of, quarters, unknown_words
from kd_asr.reporting.tables import Table, decimal, percent, to_markdown

_SIZES = (1, 2, 5, 10, 20, 50, 100)
_SENTENCES = {
    "Causes": (
        "Each utterance with errors has one cause. `vocabulary`: a word that was said is not in the graph. `search`: "
        "what was said costs less than what was found, so a wider beam would find it. Otherwise what was found costs "
        "less: by the language model alone, by all but the language model (`acoustics`), or by both."
    ),
    "Speakers": "The most errors per word first.",
    "Words outside of the vocabulary": "Errors at such words are not to be avoided; those beside them often follow.",
    "Alternatives": "The best of the search's first alternatives: what a perfect language model could choose.",
    "Frames": (
        "Utterances in four groups by frame accuracy, the lowest first: where the network and the alignment of what "
        "was said disagree, one of them is wrong."
    ),
}


def tables(examined: Sequence[Examined]) -> list[Table]:
    """All tables, by title."""
    everything = errors_of(examined)

    def share(part: Sequence[Examined]) -> str:
        return percent(errors_of(part).errors / everything.errors if everything.errors else None, 1)

    by_cause = by(examined, lambda one: one.cause)
    causes = [
        (
            cause,
            str(len(found)),
            str(errors_of(found).errors),
            share(found),
            percent(errors_of(found).wer if found else None),
        )
        for cause in CAUSES
        for found in [by_cause.get(cause, [])]
    ]
    speakers = sorted(by(examined, lambda one: one.speaker).items(), key=lambda pair: -errors_of(pair[1]).wer)
    unknown = unknown_words(examined)
    most = max((len(one.alternatives) for one in examined), default=1)
    sizes = [size for size in _SIZES if size <= max(most, 1)]
    return [
        Table(("cause", "utterances", "errors", "share of errors %", "WER %"), tuple(causes), "Causes"),
        Table(
            ("speaker", "words", "WER %", "share of errors %", "frame accuracy %"),
            tuple(
                (
                    str(name),
                    str(errors_of(found).reference_words),
                    percent(errors_of(found).wer),
                    share(found),
                    percent(sum(one.frame_accuracy for one in found) / len(found), 1),
                )
                for name, found in speakers
            ),
            "Speakers",
        ),
        Table(
            ("words outside", "share of words %", "errors at them", "errors beside them", "share of errors %"),
            (
                (
                    str(unknown.words),
                    percent(unknown.words / max(everything.reference_words, 1)),
                    str(unknown.errors),
                    str(unknown.beside),
                    percent((unknown.errors + unknown.beside) / max(everything.errors, 1), 1),
                ),
            ),
            "Words outside of the vocabulary",
        ),
        Table(
            ("alternatives", "WER of the best %"),
            tuple(
                (str(size), percent(total_errors(one.oracle(size) for one in examined).wer))
                for size in sizes
            ),
            "Alternatives",
        ),
        Table(
            ("group", "utterances", "frame accuracy %", "WER %", "share of errors %"),
            tuple(
                (
                    str(number),
                    str(len(found)),
                    percent(sum(one.frame_accuracy for one in found) / len(found), 1),
                    percent(errors_of(found).wer),
                    share(found),
                )
                for number, found in enumerate(quarters(examined), start=1)
            ),
            "Frames",
        ),
    ]


def page(examined: Sequence[Examined], label: str) -> str:
    """The page in Markdown; `label` names system and set."""
    found = errors_of(examined)
    lines = [
        "# Where words are lost",
        "",
        f"{label}: {len(examined)} utterances, {found.reference_words} words, {percent(found.wer)} % WER "
        f"({found.substitutions} substitutions, {found.deletions} deletions, {found.insertions} insertions).",
    ]
    for table in tables(examined):
        lines += ["", f"## {table.title}", "", _SENTENCES[table.title], "", to_markdown(table).rstrip("\n")]
    return "\n".join(lines) + "\n"


def utterance_rows(examined: Sequence[Examined]) -> Iterator[tuple[str, ...]]:
    """A row of a TSV for each utterance, after the names of the columns."""
    yield (
        *("utterance", "speaker", "cause", "errors", "best_alternative", "cost_said", "cost_found"),
        *("language_said", "language_found", "frame_accuracy", "outside", "said", "found"),
    )
    for one in examined:
        said = one.of_reference
        yield (
            one.utterance_id,
            one.speaker,
            one.cause or "",
            str(one.errors.errors),
            str(one.oracle(len(one.alternatives)).errors),
            decimal(said.total if said else None),
            decimal(one.of_hypothesis.total),
            decimal(said.language if said else None),
            decimal(one.of_hypothesis.language),
            decimal(one.frame_accuracy, 4),
            " ".join(sorted(one.unknown)),
            " ".join(one.reference),
            " ".join(one.hypothesis),
        )
