"""The page of a run on speech: verdict, table, plots, utterances to hear, and posteriors frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib import colormaps

from kd_asr.reporting import contents
from kd_asr.reporting.banner import banner
from kd_asr.reporting.contents import Report
from kd_asr.reporting.page import plots
from kd_asr.reporting.page.controls import control_plots
from kd_asr.reporting.page.errors import (
    Decoded,
    error_rates,
    lengths,
    speaker_table,
    utterance_rows,
    wer_by,
    word_errors_table,
)
from kd_asr.reporting.page.filters import SECTION, filters_content
from kd_asr.reporting.page.markup import Html, element, table_element
from kd_asr.reporting.page.posteriors import LOWEST, TEMPERATURES
from kd_asr.reporting.page.settings import PageSettings
from kd_asr.reporting.page.shell import paragraphs, plots_element, write_shell
from kd_asr.reporting.page.utterances import Details, Sources, write_details
from kd_asr.reporting.page.verdict import verdict
from kd_asr.reporting.palette import coloured
from kd_asr.reporting.tables import Table, byte_size, percent

_ALIKE = 12  # pairs of phones in the table


def write_speech_page(
    folder: Path,
    report: Report,
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    decoded: Decoded,
    *,
    sources: Sources,
    settings: PageSettings,
) -> None:
    """Write `index.html` and what it shows beside it.

    Args:
        folder: of the report, in which the PNG files are already.
        report: what `report.json` holds.
        histories: lines of `history.jsonl` of each network of a group.
        decoded: decoded utterances of test by system, in the same order.
        sources: where details of utterances come from.
        settings: of the page.
    """
    systems = coloured(contents.systems_of(report))
    speakers = {item.utterance_id: item.speaker_id for item in sources.utterances}
    details = write_details(folder, error_rates(decoded), sources, settings)
    first = decoded[systems.systems[0].name]
    by_length = plots.classes_plot(
        "lengths", "Errors by length", "reference words", systems, wer_by(decoded, systems, lengths(first))
    )
    main = [plots.accuracy_plot(report), plots.wer_plot(report)]
    main += [plots.difference_plot(report)] if systems.comparisons else []
    training = plots.training_plots(histories, systems)
    controls = control_plots(report)
    tuning = plots.tuning_plot(report)
    confusions = [
        plots.confusion_plot(str(number), group.label, details.confusions[group.name])
        for number, group in enumerate(systems.groups)
        if group.name in details.confusions and details.numbers
    ]
    inherited, of_filters = filters_content(report["filters"], folder) if "filters" in report else ([], [])
    warning = banner(report["preset"])
    lead = [
        *paragraphs([warning] if warning else [], class_="banner", role="note"),
        element(
            "p", f"{report['corpus']['description']} Preset {report['preset']}, seed {report['seed']}.", class_="about"
        ),
    ]
    sections = [
        ("verdict", "Verdict", [
            element("div", *paragraphs(verdict(report)), class_="verdict"),
            table_element(contents.main_table(report), "Main result on test"),
            element("fieldset", element("legend", "Systems shown"), Html(""), id="systems"),
        ]),
        ("results", "Results", [plots_element(main, folder)]),
        ("utterances", "Utterances of test", _utterances(details, len(first), settings)),
        ("errors", "Errors", [
            plots_element([by_length], folder),
            table_element(speaker_table(decoded, systems, speakers), "Word error rates by speaker"),
            table_element(word_errors_table(decoded, systems), "Words missed most often, in each system"),
        ]),
        *([("phones", "Phones that are alike", _phones(details, confusions, report, folder))] if confusions else []),
        ("training", "Training", [plots_element([*training, tuning], folder)]),
        *([("controls", "What it comes from", [plots_element(controls, folder)])] if controls else []),
        *([(*SECTION, inherited)] if inherited else []),
        ("more", "More", [_links(report)]),
    ]  # fmt: skip
    write_shell(
        folder,
        title=report["title"],
        lead=lead,
        sections=sections,
        data={
            "groups": [{"label": group.label, "colour": group.colour} for group in systems.groups],
            "systems": [
                {"name": system.name, "group": plots.number_of(systems)[system.group]} for system in systems.systems
            ],
            "utterances": [
                {**row, "file": details.numbers.get(row["id"]), "silent": details.silent.get(row["id"])}
                for row in utterance_rows(decoded, systems, speakers)
            ],
            "phones": details.phones,
            "temperatures": TEMPERATURES,
            "lowest": LOWEST,
            "shift": report["example"]["frame_shift_seconds"],
            "posteriorsOf": [plots.number_of(systems)[name] for name in sources.posteriors],
            "viridis": [[place / 16, _hex(place / 16)] for place in range(17)],
        },
        plots=[*main, by_length, *confusions, *training, tuning, *controls, *of_filters],
    )


def _hex(place: float) -> str:
    red, green, blue, _ = colormaps["viridis"](place)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _utterances(details: Details, count: int, settings: PageSettings) -> list[Html]:
    """Search, list, and the place for the chosen utterance."""
    if details.numbers:
        said = (
            f"{len(details.numbers)} of {count} can be heard and seen frame by frame, marked ▶, evenly spaced from the "
        )
        said += f"best to the worst recognised ({byte_size(details.bytes)}; settings page.utterances, page.megabytes)."
        if details.silent:
            reason = next(iter(details.silent.values()))
            said += f" The audio of {len(details.silent)} cannot be read now ({reason})."
    else:
        said = "None can be heard: page.utterances is 0, or the run folder has no frames of test any more."
        if settings.utterances and not settings.megabytes:
            said = "None can be heard: page.megabytes is 0."
    search = element("input", type="search", id="search", placeholder="id, speaker or word", autocomplete="off")
    return [
        element("p", said),
        element("p", element("label", "Search ", for_="search"), search, element("output", id="found", for_="search")),
        element(
            "div", element("table", element("caption", "Utterances; a heading sorts, a name opens"), id="list"),
            class_="wide list", tabindex=0, role="region", aria_label="List of utterances",
        ),
        element("div", Html(""), id="chosen", aria_live="polite"),
    ]  # fmt: skip


def _phones(details: Details, confusions: Sequence[plots.Plot], report: Report, folder: Path) -> list[Html]:
    systems = contents.systems_of(report)
    teacher = systems.teacher or systems.groups[0]
    pairs = details.confusions[teacher.name].alike(_ALIKE)
    rows = tuple((f"{aligned} – {other}", percent(value, 1)) for aligned, other, value in pairs)  # noqa: RUF001
    said = "Mean posteriors at temperature 1 in the frames of each aligned phone, over the utterances that can be "
    said += "heard: the knowledge about phones that are alike, which hard labels do not hold."
    table = Table(("aligned phone – other phone", "mean posterior %"), rows)  # noqa: RUF001
    return [
        element("p", said),
        table_element(table, f"What the {teacher.in_a_sentence} finds most alike"),
        plots_element(confusions, folder),
    ]


def _links(report: Report) -> Html:
    names = ["report.md", "report.json", *report["files"]["utterances"]]
    return element("ul", *(element("li", element("a", name, href=quote(name))) for name in names))
