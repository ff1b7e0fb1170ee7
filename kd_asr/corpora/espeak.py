"""The espeak-ng synthesiser: phonemes of words, and speech with the time of every phoneme.

espeak-ng (GPL-3) is never loaded into the process of the toolkit: `python -m kd_asr.corpora.espeak` is a small program
of its own that reads requests as JSON lines on standard input and answers as JSON lines on standard output. A fresh
process for a fixed list of requests is also what makes its output the same bytes every time: inside one process an
utterance is shaped by those before it. The noise of breath and fricatives is seeded anew for every utterance; left
alone it would be seeded from the clock.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kd_asr.errors import UserError

# Names and values as in espeak-ng 1.52, src/include/espeak-ng/speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_PHONEME_EVENTS = 0x0001
CHARS_UTF8 = 1
END_PAUSE = 0x1000
PARAMETERS = {"rate": 1, "pitch": 3, "pitch_range": 4, "word_gap": 7}
EVENT_LIST_TERMINATED = 0
EVENT_PHONEME = 7
PHONEMES_AS_IPA = 0x02
SEPARATOR = "_"


@dataclass(frozen=True)
class Voice:
    """How espeak-ng shall speak.

    Attributes:
        name: language and variant, such as `en-us+f3`.
        rate: words a minute, 80 to 450.
        pitch: base pitch, 0 to 100.
        pitch_range: liveliness of the pitch, 0 to 100.
        word_gap: added pause between words, in units of 10 ms.
    """

    name: str
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0


@dataclass(frozen=True)
class Speech:
    """What espeak-ng said.

    Attributes:
        sample_rate: Hz.
        pcm: 16-bit little-endian samples, one channel.
        phonemes: (name, first sample) in order, in espeak-ng's own ASCII names; pauses are named `_` followed by
            anything. Each lasts until the next one begins, the last until the end of the samples.
    """

    sample_rate: int
    pcm: bytes
    phonemes: list[tuple[str, int]]


def espeak_phonemes(words: Sequence[str], voice: str = "en-us") -> list[list[str]]:
    """How espeak-ng would say each word: a list of IPA phonemes.

    The stress marks U+02C8 (primary) and U+02CC (secondary) stand before the vowels that bear them. Case does
    not matter. A word that espeak-ng has no sound for (such as a lone apostrophe) has an empty list.

    Raises:
        UserError: espeak-ng cannot be loaded, or the voice is unknown.
    """
    if not words:
        return []
    answers = _ask([{"say_phonemes": word.lower(), "voice": voice} for word in words])
    return [[str(phoneme) for phoneme in answer["phonemes"]] for answer in answers]


def speak(texts: Sequence[str], voice: Voice) -> list[Speech]:
    """Speak the texts one after another in a fresh process: the same list gives the same bytes.

    Raises:
        UserError: espeak-ng cannot be loaded, or the voice is unknown.
    """
    if not texts:
        return []
    answers = _ask([{"speak": text, **asdict(voice)} for text in texts])
    return [
        Speech(
            answer["sample_rate"],
            base64.b64decode(answer["pcm"]),
            [(str(name), int(sample)) for name, sample in answer["events"]],
        )
        for answer in answers
    ]


def _ask(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers of a fresh espeak-ng process, in the order of the requests."""
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-m", "kd_asr.corpora.espeak"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": search_path},
        check=False,
    )
    # A last line without its end was cut off with the process.
    answers = [json.loads(line) for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    for answer in answers:
        if "error" in answer:
            raise UserError(f"espeak-ng: {answer['error']}")
    if len(answers) != len(requests):
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise UserError(
            f"espeak-ng ended after {len(answers)} of {len(requests)} requests ({reason[0]}); "
            "install the espeakng-loader package again"
        )
    return answers


# What follows runs in the process of its own.


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Espeak:
    """The library, loaded into this process; `samples` and `events` hold what it has said since they were emptied."""

    def __init__(self) -> None:
        import espeakng_loader

        self.native = ctypes.CDLL(espeakng_loader.get_library_path())
        self.native.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.samples = bytearray()
        self.events: list[tuple[str, int]] = []
        self.callback = _Callback(self._receive)  # kept here: the library holds only its address
        self.sample_rate = self.native.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), INITIALIZE_PHONEME_EVENTS
        )
        if self.sample_rate <= 0:
            raise UserError(f"its data in {espeakng_loader.get_data_path()} cannot be read")
        self.native.espeak_SetSynthCallback(self.callback)
        self.voice = ""

    def _receive(self, wave: Any, num_samples: int, events: Any) -> int:
        if wave and num_samples > 0:
            self.samples += ctypes.string_at(wave, 2 * num_samples)
        index = 0
        while events[index].type != EVENT_LIST_TERMINATED:
            if events[index].type == EVENT_PHONEME:
                self.events.append((events[index].id.string.decode("utf-8", "replace"), events[index].sample))
            index += 1
        return 0

    def set_voice(self, name: str) -> None:
        if name != self.voice and self.native.espeak_SetVoiceByName(name.encode()) != 0:
            raise UserError(f"there is no voice {name!r}")
        self.voice = name

    def phonemes(self, text: str) -> list[str]:
        """IPA phonemes; where espeak-ng reads a word as several words, their phonemes follow one another."""
        pointer = ctypes.c_char_p(text.encode())
        found: list[str] = []
        while pointer.value:
            part = self.native.espeak_TextToPhonemes(
                ctypes.byref(pointer), CHARS_UTF8, PHONEMES_AS_IPA | ord(SEPARATOR) << 8
            )
            found += part.decode().replace(" ", SEPARATOR).replace("\n", SEPARATOR).split(SEPARATOR)
        return [phoneme for phoneme in found if phoneme and not phoneme.startswith("(")]

    def speak(self, text: str) -> None:
        self.samples.clear()
        self.events.clear()
        self.native.espeak_ng_SetRandSeed(ctypes.c_long(1))
        data = text.encode()
        if self.native.espeak_Synth(
            ctypes.c_char_p(data), ctypes.c_size_t(len(data) + 1), 0, 1, 0, CHARS_UTF8 | END_PAUSE, None, None
        ):
            raise UserError(f"cannot speak {text!r}")


def _answer(espeak: _Espeak, request: dict[str, Any]) -> dict[str, Any]:
    if "say_phonemes" in request:
        espeak.set_voice(request["voice"])
        return {"phonemes": espeak.phonemes(request["say_phonemes"])}
    espeak.set_voice(request["name"])
    for name, number in PARAMETERS.items():
        espeak.native.espeak_SetParameter(number, request[name], 0)
    espeak.speak(request["speak"])
    return {
        "sample_rate": espeak.sample_rate,
        "pcm": base64.b64encode(espeak.samples).decode(),
        "events": espeak.events,
    }


def _serve() -> None:
    """Answer requests until standard input ends; a request that cannot be met is answered by its `error`."""
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        espeak = _Espeak()
        for line in sys.stdin:
            print(json.dumps(_answer(espeak, json.loads(line))), flush=True)
    except (UserError, OSError, ImportError) as error:
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    _serve()
