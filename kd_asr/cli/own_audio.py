"""The commands `kd-asr transcribe` and `kd-asr align-files` for a user's own audio: parsing and printing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_asr.cli.parsing import add_device_option, one_of, whole_number
from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.text import shown

if TYPE_CHECKING:
    from kd_asr.recognition.results import Timed
    from kd_asr.recognition.stream import Heard
    from kd_asr.stages.own_frames import Failure

COMMANDS = ("transcribe", "align-files")
_PIPE_RATE = 16000
_MICROPHONE = "mic"


def add_own_audio(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parsers of `COMMANDS`."""
    transcribe = commands.add_parser(
        "transcribe",
        help="recognise audio files of your own with a trained system",
        description="Recognise audio files with a system of a run whose `decode` is done. Prints one line per file: "
        "name, tab, words; with --json one object per file, with the times of the words in seconds and the mean "
        "posterior of each; with --alternatives also the probability of each word among them. Files that cannot be "
        "read are named on standard error. With --stream - standard input is recognised while it comes, with "
        "--stream mic what a microphone hears.",
    )
    align = commands.add_parser(
        "align-files",
        help="align audio files of your own with their transcripts",
        description="Align audio files with their transcripts by a system of a run: a.wav with the words of a.txt "
        "beside it. Writes a.TextGrid (words, phones, confidence of each word, for Praat) and a.ctm (words with their "
        "confidence) into --out. Words that cannot be right (far too long, or of very low posterior) are listed on "
        "standard error.",
    )
    for command in (transcribe, align):
        command.add_argument(
            "model",
            type=Path,
            help="folder of a trained system (RUN/distil/student-00, RUN/baseline/baseline-00, RUN/ensemble), or one "
            "that `kd-asr export` wrote",
        )
        command.add_argument("files", type=Path, nargs="+", metavar="FILE", help="audio: FLAC, WAV, OGG, MP3, any rate")
        command.add_argument(
            "--one-speaker",
            action="store_true",
            help="all files are of one speaker: normalise their frames together, as in training (default: each file by "
            "itself, which is less accurate for short files)",
        )
        command.add_argument(
            "--channel",
            type=whole_number("--channel", 1),
            default=None,
            metavar="N",
            help="channel of files with several, counted from 1 (default: the mean of all)",
        )
        command.add_argument(
            "--jobs", type=whole_number("--jobs", 0), default=0, help="processes (default: one per core)"
        )
        command.add_argument(
            "--engine",
            type=one_of("--engine", ("torch", "onnx", "int8")),
            default="torch",
            metavar="torch|onnx|int8",
            help="what computes the network's outputs: torch (default), or of an export folder ONNX Runtime, in fp32 "
            "or in 8 bits; only torch adapts to the speaker",
        )
        add_device_option(command, "where the networks are applied")
    transcribe.add_argument("--json", action="store_true", help="print JSON with word times")
    transcribe.add_argument(
        "--alternatives",
        type=whole_number("--alternatives", 0),
        default=0,
        metavar="N",
        help="add the N best word sequences of each file to the JSON, and to every word a confidence, its probability "
        "among them (default: 0, only the best)",
    )
    transcribe.add_argument(
        "--stream",
        action="store_true",
        help="with - as the only file: recognise what comes from standard input while it comes, PCM of 16 bits or "
        "WAV; with mic, a microphone (pip install 'kd-asr[microphone]'); prints one object of JSON per line, partial "
        "results with the number of words that are certain, and at pauses final ones with the times of the words",
    )
    transcribe.add_argument(
        "--rate",
        type=whole_number("--rate", 4000),
        default=None,
        metavar="HZ",
        help=f"sample rate of PCM from standard input or a microphone (default: {_PIPE_RATE}; WAV tells its own)",
    )
    align.add_argument("--out", type=Path, default=Path(), help="folder for the results (default: this one)")
    align.add_argument("--overwrite", action="store_true", help="replace results that are there already")


def run_own_audio(arguments: argparse.Namespace) -> None:
    """Run one of `COMMANDS`; it is an error only if no file could be used."""
    from kd_asr.recognition.own_audio import align_files, transcribe

    if arguments.command == "transcribe" and arguments.stream:
        _stream(arguments)
        return
    if arguments.command == "transcribe" and arguments.rate:
        raise UserError("--rate is that of --stream: files tell their own")
    options = {
        "one_speaker": arguments.one_speaker,
        "channel": arguments.channel,
        "jobs": arguments.jobs,
        "device": arguments.device or "auto",
        "engine": arguments.engine,
    }
    if arguments.command == "transcribe":
        timed, failed = transcribe(arguments.model, arguments.files, alternatives=arguments.alternatives, **options)
        for item in timed:
            print(_as_json(item) if arguments.json else f"{shown(item.file)}\t{_text(item)}")
    else:
        options["overwrite"] = arguments.overwrite
        timed, failed = align_files(arguments.model, arguments.files, arguments.out, **options)
        say(f"{len(timed)} files aligned: {arguments.out}/*.TextGrid and *.ctm")
    for item in timed:
        for place, reason in item.doubts.items():
            start = item.words[place].start_frame * item.frame_shift
            say(f"{shown(item.file)}: {item.words[place].word} at {start:.2f} s cannot be right: {reason}")
    _list_failures(failed)
    if not timed:
        raise UserError("none of the files could be used")


def _stream(arguments: argparse.Namespace) -> None:
    """Print what standard input or a microphone says, until it ends or the user interrupts it."""
    from kd_asr.recognition.listener import Listener
    from kd_asr.recognition.own_audio import open_recogniser
    from kd_asr.recognition.sources import microphone, standard_input
    from kd_asr.recognition.stream import LoadedRecogniser

    if [str(file) for file in arguments.files] not in (["-"], [_MICROPHONE]):
        raise UserError(f"--stream takes - for standard input or {_MICROPHONE} for a microphone, and no files")
    if arguments.alternatives or arguments.one_speaker:
        raise UserError("--stream has neither --alternatives nor --one-speaker")
    rate, name = arguments.rate or _PIPE_RATE, "standard input"
    source = standard_input()
    if arguments.files == [Path(_MICROPHONE)]:
        name = "the microphone"
        source = microphone(rate)
    system = open_recogniser(
        arguments.model, engine=arguments.engine, device=arguments.device or "auto", jobs=arguments.jobs
    )
    listener = Listener(LoadedRecogniser(system), rate, arguments.channel, name=name)
    say(f"listening to {name}")
    try:
        for data in source:
            _print_lines(listener.accept(data))
    except KeyboardInterrupt:
        pass
    _print_lines(listener.finish())


def _print_lines(heard: list[Heard]) -> None:
    for one in heard:
        print(json.dumps(one.as_json(), ensure_ascii=False), flush=True)


def _text(item: Timed) -> str:
    return " ".join(word.word for word in item.words)


def _as_json(item: Timed) -> str:
    from kd_asr.alignment.words import words_in_time
    from kd_asr.evaluation.confidence import word_confidences

    in_time = words_in_time(item.words, item.frame_shift)
    words: list[dict[str, Any]] = [
        {"word": label, "start": round(start, 3), "end": round(end, 3), "mean_posterior": round(word.posterior, 4)}
        for word, (label, start, end) in zip(item.words, in_time, strict=True)
    ]
    for place, reason in item.doubts.items():
        words[place]["doubt"] = reason
    content: dict[str, Any] = {
        "file": str(item.file),
        "seconds": round(item.seconds, 3),
        "text": _text(item),
        "words": words,
    }
    if item.alternatives:
        for word, confidence in zip(words, word_confidences(item.alternatives), strict=True):
            word["confidence"] = round(confidence, 4)
        best = item.alternatives[0].cost
        content["alternatives"] = [
            {"text": " ".join(one.words), "cost": round(one.cost - best, 3)} for one in item.alternatives
        ]
    return json.dumps(content, ensure_ascii=False)


def _list_failures(failed: list[Failure]) -> None:
    for failure in failed:
        say(f"{shown(failure.file)}: {failure.reason}")
