"""The page `report.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_asr.corpora.manifest import SETS
from kd_asr.reporting import contents
from kd_asr.reporting.contents import Report
from kd_asr.reporting.figures import BASELINE, DISTILLED, ENSEMBLE
from kd_asr.reporting.tables import Table, percent, percent_interval, signed_percent, to_markdown

HOW_TO_READ = """\
- **Frame accuracy** is the share of 10 ms frames whose most probable pdf is the one that the alignment gives. The
  alignment is our own aligner's, not a truth: the figure compares systems, not corpora.
- **Cross-entropy** is the mean of -log posterior of that pdf, in nats. A system can lose accuracy and gain
  cross-entropy, by being less sure when it is wrong.
- **WER** is (substitutions + deletions + insertions) / reference words. The sum is unique; how it splits into the three
  is one of several equal choices.
- **Intervals** are 95 % percentile intervals of a bootstrap over utterances with 10,000 draws (Bisani and Ney, ICASSP
  2004). Differences are paired: all systems are computed on the same draws, so a difference can be certain though
  the systems' own intervals overlap. The figure of the baseline is the mean over baselines, that of the distilled
  system the mean over students, taken inside each draw. The intervals say what other utterances of the same kind would
  give, not what other seeds would give: look at the spread over baselines and students for that. Those over speakers
  draw whole speakers, and allow for utterances of one speaker being hard or easy together; with few speakers they are
  themselves rough.
- **p** is two-sided: twice the smaller of the shares of draws with difference <= 0 and with difference >= 0.
- **The share kept** is (student - baseline) / (ensemble - baseline). Where the ensemble gains little, its interval
  is wide or not bounded, and the share means little.
- **Train, dev, test**: networks saw train. Everything that was chosen (the epoch that is kept, acoustic scale,
  insertion penalty, temperature and weights) was chosen on dev, so dev figures are a little too good. Test was read
  once, at the end.
- **Real-time factors** are seconds of processing per second of audio, on the test set, in one process of one thread.
- **The paper's figures** are for another corpus and larger networks. What can be compared is the pattern: how much an
  ensemble gains, and how much of that one network keeps.
"""


def summary(report: Report) -> str:
    """The result in a few sentences."""
    figures = report["figures"]
    compared, kept = figures["comparisons"]["test"], figures["share_of_gain"]["test"]
    accuracy = compared["frame_accuracy"]
    gain = accuracy[f"{ENSEMBLE} - {BASELINE}"]
    sentences = [
        f"On test, the ensemble's frame accuracy is {signed_percent(gain['value'])} points from the baseline's "
        f"(95 % interval {percent_interval(gain['interval'], signed=True)})"
    ]
    share = kept["frame_accuracy"]
    if share["value"] is None:
        sentences.append("so there was no gain for the student to keep")
    else:
        sentences.append(
            f"and the distilled network keeps {percent(share['value'], 0)} % of that gain "
            f"(95 % interval {percent_interval(share['interval'], 0)}; the paper's: "
            f"{percent(report['paper']['share_of_gain']['frame_accuracy'], 0)} %)"
        )
    wer = {name: percent(by_set["test"]["wer"]) for name, by_set in figures["systems"].items()}
    words = compared["wer"][f"{DISTILLED} - {BASELINE}"]
    return (
        ", ".join(sentences)
        + f". The WER of baseline, ensemble and distilled network is {wer[BASELINE]}, {wer[ENSEMBLE]} and "
        + f"{wer[DISTILLED]} %; the distilled network's differs from the baseline's by "
        + f"{signed_percent(words['value'])} points (95 % interval {percent_interval(words['interval'], signed=True)})."
    )


def targets_sentence(align: Mapping[str, Any]) -> str:
    """What the networks' outputs are, and who aligned them."""
    leaves = ", the leaves of a decision tree" if "tied" in align["targets"] else ""
    aligner = f"a GMM-HMM of {align['gaussians']} Gaussians"
    if "networks" in align:
        aligner = f"{align['networks']} networks, which learnt from {aligner}"
    return f"Targets: {align['pdfs']} {align['targets']}{leaves}; aligned by {aligner}."


def _adaptation(report: Report) -> list[str]:
    """What was done for the speakers of dev and test, if anything."""
    prior = report["settings"]["adapt"]["prior_frames"]
    if prior == 0:
        return []
    return [
        "On dev and test all networks follow the speaker, without transcripts: batch normalisation has the means and "
        f"variances of the speaker's own frames, against which those of the training set count as {prior} frames. On "
        "train networks are as they were trained.",
    ]


def students_sentences(settings: Mapping[str, Any]) -> str:
    """What the students have in common with the baseline, and what not."""
    distil = settings["distil"]
    teacher, student = (settings[role]["network"] or settings["network"] for role in ("teacher", "student"))
    own, dropout = distil["dropout"], next(iter(student.values())).get("dropout")
    if teacher == student:
        alike, others = "Baselines, members and students have one architecture and budget", "the others"
    else:
        alike = "Baselines and students have one architecture, members another one, and all have one budget"
        others = "baselines"
    if own is not None and own != dropout:
        alike += f", but for the dropout of hidden units: {own:g} in students, {dropout:g} in {others}"
    also = f", on the training set and {distil['copies']} perturbed copies of it" if distil["copies"] else ""
    return (
        f"{alike}. Students learn from the ensemble's posteriors at temperature {distil['temperature']:g} (weight "
        f"{distil['soft_weight']:g}) and from the hard labels (weight {distil['hard_weight']:g}){also}."
    )


def page(report: Report) -> str:
    """The whole report as Markdown; `report` is what `report.json` holds."""
    corpus = report["corpus"]
    sections = [
        f"# {report['title']}",
        f"{corpus['description']} Train: `{corpus['train']}`, dev: `{corpus['dev']}`, test: `{corpus['test']}`. "
        f"Preset `{report['preset']}`, seed {report['seed']}. " + targets_sentence(report["stages"]["align"]),
        _table(contents.main_table(report)),
        summary(report),
        f"The paper: {report['paper']['citation']} ({report['paper']['setting']}).",
        "## What the student kept",
        _table(contents.share_table(report)),
        _table(contents.comparison_table(report)),
        "## Frame accuracy and cross-entropy",
        _table(contents.frame_table(report)),
        *_adaptation(report),
        "![Frame accuracy](frame_accuracy.png)",
        "## Word error rate",
        _table(contents.word_table(report)),
        "![Word error rate](wer.png)",
        "What each system heard, utterance by utterance, with reference and hypothesis aligned: "
        + ", ".join(f"[{name}]({name})" for name in report["files"]["utterances"])
        + ".",
        "## Baselines, students and members",
        students_sentences(report["settings"]),
        _table(contents.seeds_table(report)),
        "## Training",
        "![Training curves](training_curves.png)",
        "The objective of the students contains the soft loss with its factor T², so it cannot be compared with "
        "that of networks trained on hard labels; the hard-label loss can.",
        "## Chosen on dev",
        _table(contents.choices_table(report)),
        "Each pair's WER is the mean over the networks of the system. The pairs of the plot were compared with a "
        "narrower beam (`decode.tuning_beam`) than dev's WER in the table.",
        "![Dev WER over acoustic scale and insertion penalty](dev_grid.png)",
        *_sweep(report),
        "## Size and speed",
        _table(contents.speed_table(report)),
        "## Data",
        *_data(report),
        *(
            section
            for title, stage in (
                ("Lexicon", "lexicon"),
                ("Language model", "language_model"),
                ("Alignment", "align"),
                ("Posterior store", "posteriors"),
                ("Decoding graph", "graph"),
            )
            for section in _stage_section(title, report["stages"].get(stage, {}))
        ),
        "## Wall time",
        "Each network's own time is counted, so stages that train several at once took less than is written here.",
        _table(contents.wall_time_table(report)),
        "## Settings",
        _table(contents.key_table(report["settings"], "setting")),
        "## How to read this report",
        HOW_TO_READ,
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def _table(table: Table) -> str:
    return to_markdown(table)


def _sweep(report: Report) -> list[str]:
    if not report["sweep"]:
        return []
    return ["Temperature and loss weights that were tried, on dev:", _table(contents.sweep_table(report))]


def _data(report: Report) -> list[str]:
    prepared = contents.columns_by_set(report["stages"].get("prepare", {}))
    sections = [_table(prepared)] if prepared else []
    if report["rejected"]:
        total = sum(row["count"] for row in report["rejected"])
        sections += [f"Left out, {total} utterances in all stages:", _table(contents.rejected_table(report))]
    else:
        sections.append("No utterance was left out by any stage.")
    return sections


def _stage_section(title: str, metrics: Mapping[str, Any]) -> list[str]:
    """Figures of a stage: those per set as columns, the others as lines."""
    if not metrics:
        return []
    by_set = contents.columns_by_set(metrics)
    steps = metrics.get("steps", [])
    shown_as_tables = {*(SETS if by_set else ()), *(("steps", "log_likelihood_per_frame") if steps else ())}
    others = {name: value for name, value in metrics.items() if name not in shown_as_tables}
    sections = [f"## {title}"]
    if others:
        sections.append(_table(contents.key_table(others, "figure")))
    if by_set:
        sections.append(_table(by_set))
    if steps:
        sections.append(_table(contents.steps_table(steps)))
    return sections
