"""The page `report.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_asr.corpora.manifest import SETS
from kd_asr.jobs.systems import Group, Systems
from kd_asr.machine import machine_sentence
from kd_asr.reporting import contents
from kd_asr.reporting.banner import banner_in_markdown
from kd_asr.reporting.contents import Report
from kd_asr.reporting.controls import control_sections, sweep_sentences
from kd_asr.reporting.figures import comparison_key
from kd_asr.reporting.filters_page import filters_section
from kd_asr.reporting.tables import Table, percent, percent_interval, signed_percent, to_markdown
from kd_asr.text import as_code, in_markdown

HOW_TO_READ = """\
- **Frame accuracy** is the share of 10 ms frames whose most probable pdf is the one that the alignment gives. The
  alignment comes from the run's own aligner and is not the truth: use the figure to compare systems, not corpora.
- **Cross-entropy** is the mean of -log posterior of that pdf, in nats. A system can lose in accuracy and still gain in
  cross-entropy, by being less certain when it is wrong.
- **WER** is (substitutions + deletions + insertions) / reference words. The sum is unique; its split into the three is
  one of several equal choices.
- **Intervals** are 95 % percentile intervals of a bootstrap over utterances with 10,000 draws (Bisani and Ney, ICASSP
  2004). Differences are paired: all systems are computed on the same draws, so a difference can be certain even if
  the systems' own intervals overlap. Where a figure is the mean over several networks, such as baselines or students,
  the mean is taken inside each draw. The intervals say what other utterances of the same kind would give, not what
  other seeds would give; for that, see the spread over networks. Intervals over speakers draw whole speakers, since
  the utterances of one speaker are hard or easy together; with few speakers they are themselves rough.
- **p** is two-sided: twice the smaller of the shares of draws with difference <= 0 and with difference >= 0.
- **The share kept** is (student - baseline) / (ensemble - baseline). Where the ensemble gains little, its interval
  is wide or unbounded, and the share means little.
- **Train, dev, test**: networks learnt from train. Every choice (the epoch whose weights are kept, acoustic scale,
  insertion penalty) was made on dev, so dev figures are slightly too good. Temperature and weights of the losses are
  the settings'; the sweep shows others and chooses none. Test was read once, at the end.
- **Real-time factors** are seconds of processing per second of audio, on the test set, in one process of one thread.
- **The paper's figures** are for another corpus and larger networks. What can be compared is the pattern: how much an
  ensemble gains, and how much of that gain one network keeps.
"""


def summary(report: Report) -> str:
    """The result in a few sentences."""
    systems, figures = contents.systems_of(report), report["figures"]
    reference, teacher = systems.reference, systems.teacher
    if reference is not None and teacher is not None:
        clauses = [_accuracies_apart(report, teacher, reference), *_shares_kept(report, systems)]
    else:
        clauses = [_accuracies_apart(report, first, second) for first, second in systems.comparisons]
    wers = [percent(figures["systems"][group.name]["test"]["wer"]) for group in systems.groups]
    names = listed([group.in_a_sentence for group in systems.groups])
    words = [f"The WER of {'the ' if len(wers) == 1 else ''}{names} is {listed(wers)} %"]
    for student, other in systems.comparisons:
        if student.role != "student" or other != reference:
            continue
        one = figures["comparisons"]["test"]["wer"][comparison_key(student, other)]
        differs = f"differs from the {other.in_a_sentence}'s by" if student == systems.students[0] else "by"
        words.append(
            f"the {student.in_a_sentence}'s {differs} {signed_percent(one['value'])} points (95 % interval "
            f"{percent_interval(one['interval'], signed=True)})"
        )
    first = f"On test, {', '.join(clauses)}. " if clauses else ""
    return f"{first}{'; '.join(words)}."


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _accuracies_apart(report: Report, first: Group, second: Group) -> str:
    one = report["figures"]["comparisons"]["test"]["frame_accuracy"][comparison_key(first, second)]
    return (
        f"the {first.in_a_sentence}'s frame accuracy differs from the {second.in_a_sentence}'s by "
        f"{signed_percent(one['value'])} points (95 % interval {percent_interval(one['interval'], signed=True)})"
    )


def _shares_kept(report: Report, systems: Systems) -> list[str]:
    """A clause for each student group on the share of the teacher's gain it keeps; one for all without a gain."""
    shares, paper = report["figures"]["share_of_gain"]["test"]["frame_accuracy"], report["paper"]
    clauses: list[str] = []
    for student in systems.students:
        share = shares[student.name]
        if share["value"] is None:
            return ["so there was no gain for the student to keep"]
        in_paper = student.name in paper["systems"]
        published = f"; the paper's: {percent(paper['share_of_gain']['frame_accuracy'], 0)} %" if in_paper else ""
        kept = percent(share["value"], 0)
        keeps = f"{kept} %" if clauses else f"keeps {kept} % of that gain"
        clauses.append(
            f"{'' if clauses else 'and '}the {student.in_a_sentence} {keeps} (95 % interval "
            f"{percent_interval(share['interval'], 0)}{published})"
        )
    return clauses


def targets_sentence(align: Mapping[str, Any]) -> str:
    """Sentence on the networks' outputs and the aligner."""
    leaves = ", the leaves of a decision tree" if "tied" in align["targets"] else ""
    aligner = f"a GMM-HMM with {align['gaussians']} Gaussians"
    if "networks" in align:
        aligner = f"{align['networks']} networks that learnt from {aligner}"
    return f"Targets: {align['pdfs']} {align['targets']}{leaves}; aligned by {aligner}."


def _adaptation(report: Report) -> list[str]:
    """A paragraph on speaker adaptation, if there was any."""
    prior = report["settings"]["adapt"]["prior_frames"]
    if prior == 0:
        return []
    return [
        "On dev and test all networks are adapted to the speaker, without transcripts: batch normalisation uses the "
        f"means and variances of the speaker's own frames, combined with those of the training set as if the latter "
        f"came from {prior} frames. On train the networks are as they were trained.",
    ]


def page(report: Report) -> str:
    """The whole report as Markdown; `report` is what `report.json` holds."""
    corpus, systems = report["corpus"], contents.systems_of(report)
    sections = [
        f"# {in_markdown(report['title'])}",
        *banner_in_markdown(report["preset"]),
        f"{in_markdown(corpus['description'])} Train: {as_code(corpus['train'])}, dev: {as_code(corpus['dev'])}, "
        f"test: {as_code(corpus['test'])}. Preset {as_code(report['preset'])}, "
        f"seed {report['seed']}. {targets_sentence(report['stages']['align'])}",
        _table(contents.main_table(report)),
        summary(report),
        f"The paper: {report['paper']['citation']} ({report['paper']['setting']}).",
        *_compared(report),
        "## Frame accuracy and cross-entropy",
        _table(contents.frame_table(report)),
        *_adaptation(report),
        "![Frame accuracy](frame_accuracy.png)",
        "## Word error rate",
        _table(contents.word_table(report)),
        "![Word error rate](wer.png)",
        "What each system recognised, utterance by utterance, with reference and hypothesis aligned: "
        + ", ".join(f"[{name}]({name})" for name in report["files"]["utterances"])
        + ".",
        "## Single networks",
        *(group.about for group in systems.groups if group.about),
        _table(contents.seeds_table(report)),
        *control_sections(report),
        *(filters_section(report["filters"]) if "filters" in report else []),
        "## Training",
        "![Training curves](training_curves.png)",
        *_objectives(systems),
        "## Chosen on dev",
        _table(contents.choices_table(report)),
        "Each pair's WER is the mean over the networks of the system. The pairs of the plot were compared with a "
        "narrower beam (`decode.tuning_beam`) than dev's WER in the table.",
        "![Dev WER over acoustic scale and insertion penalty](dev_grid.png)",
        *_sweep(report),
        "## Size and speed",
        _table(contents.speed_table(report)),
        f"Networks were trained on {', '.join(report['timings']['trained_on'])}; their real-time factor is that of one "
        f"process on {report['timings']['applied_on']}.",
        "## Data",
        *_data(report),
        *_example(report),
        *(
            section
            for title, stage in (
                ("Lexicon", "lexicon"),
                ("Language model", "language_model"),
                ("Alignment", "align"),
                ("Unlabelled audio", "unlabelled"),
                ("Posterior store", "posteriors"),
                ("Decoding graph", "graph"),
            )
            for section in _stage_section(title, report["stages"].get(stage, {}))
        ),
        "## Wall time",
        "The times of all networks are added, so stages that train several at once took less time than shown here. "
        + machine_sentence(report["timings"]["machine"]),
        _table(contents.wall_time_table(report)),
        "## Settings",
        _table(contents.key_table(report["settings"], "setting")),
        "## How to read this report",
        HOW_TO_READ,
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def _table(table: Table) -> str:
    return to_markdown(table)


def _compared(report: Report) -> list[str]:
    """Shares kept and paired differences; empty where there is neither a reference nor a teacher."""
    share, differences = contents.share_table(report), contents.comparison_table(report)
    if differences is None:
        return []
    if share is None:
        return ["## Differences", _table(differences)]
    return ["## What the student kept", _table(share), _table(differences)]


def _objectives(systems: Systems) -> list[str]:
    if not systems.students:
        return []
    return [
        "The objective of the students contains the soft loss with its factor T², so it cannot be compared with "
        "that of networks trained on hard labels; the hard-label loss can."
    ]


def _example(report: Report) -> list[str]:
    """Inputs and posteriors of an utterance of dev."""
    return [
        "## One utterance, frame by frame",
        f"{as_code(report['example']['utterance_id'])} of dev: its frames, the words where the alignment puts them, "
        "and the posterior of the aligned state in one system of each group. Where it is low, the system prefers "
        "another state.",
        "![An utterance: frames, words, posteriors](utterance.png)",
    ]


def _sweep(report: Report) -> list[str]:
    if not report["sweep"]:
        return []
    tried = "Temperatures and loss weights that were tried, on dev:"
    return [tried, _table(contents.sweep_table(report)), *sweep_sentences(report)]


def _data(report: Report) -> list[str]:
    prepared = contents.columns_by_set(report["stages"].get("prepare", {}))
    sections = [_table(prepared)] if prepared else []
    if report["rejected"]:
        total = sum(row["count"] for row in report["rejected"])
        sections += [f"Utterances left out, {total} in all stages:", _table(contents.rejected_table(report))]
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
