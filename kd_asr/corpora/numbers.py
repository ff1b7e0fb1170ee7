"""Numbers in transcripts as they are said in English: `10:30`, `$5.50`, `1995`, `21st`, `1,000`, `3.14`, `50%`, `1/2`.

The words of whole numbers, ordinals and years are num2words'.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from num2words import num2words

# Longer ones are numbers of telephones and accounts, and are said digit by digit.
_LONGEST = 12
# Of each sign one, several, and one and several of its hundredth part.
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\u00a3": ("pound", "pounds", "penny", "pence"),
    "\u20ac": ("euro", "euros", "cent", "cents"),
    "\u00a5": ("yen", "yen", "", ""),
    "\u20b9": ("rupee", "rupees", "", ""),
    "\u20a9": ("won", "won", "", ""),
    "\u20bd": ("rouble", "roubles", "", ""),
    "\u20ba": ("lira", "lira", "", ""),
    "\u20aa": ("shekel", "shekels", "", ""),
    "\u20bf": ("bitcoin", "bitcoins", "", ""),
    "\u00a2": ("cent", "cents", "", ""),
}
_LARGE = "thousand|million|billion|trillion"
# Behind a sum of money and without a space.
_SHORT = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "tn": "trillion"}
_SIGN = "[" + "".join(_CURRENCIES) + "]"
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)"
_NUMBERS = re.compile(
    rf"""
    (?P<money>{_SIGN}\s?(?P<sum>{_WHOLE}(?:\.\d+)?)(?:\s?(?P<large>{_LARGE})\b|(?P<short>{"|".join(_SHORT)})\b)?)
    |(?P<after>(?P<sum_before>{_WHOLE}(?:\.\d\d)?)\s?(?P<sign_after>{_SIGN})(?!\d))
    |(?P<clock>(?<![\d:.,])(?P<hour>[01]?\d|2[0-4])(?::|\.(?=[0-5]\d\s?[ap]\.?m\b))(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:]))
    |(?P<ordinal>(?P<rank>{_WHOLE})(?:st|nd|rd|th)\b)
    |(?P<decade>(?<![\d.,])(?P<ten>[12]\d\d0|'?\d0)'?s\b)
    |(?P<fraction>(?<![\d/.,])(?P<above>\d{{1,2}})[/\u2044](?P<below>\d{{1,2}})(?![\d/.,]*\d))
    |(?P<decimal>(?:(?P<before>{_WHOLE})|(?<!\w))(?P<places>(?:\.\d+)+))
    |(?P<whole>{_WHOLE})
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def spell_numbers(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A text with its numbers in words, set off by spaces, and (as written, as said) of each of them, in order.

    A number of four digits from 1100 to 2099 is a year; digits after the point, telephone numbers and numbers that
    begin with 0 are said one by one. A minus counts where it stands before a number and after a space.

    >>> spell_numbers("at 10:30")
    ('at  ten thirty ', (('10:30', 'ten thirty'),))
    """
    found: list[tuple[str, str]] = []
    plain = "".join(map(_ascii_digits, text))

    def said(match: re.Match[str]) -> str:
        words = _in_words(match, plain)
        found.append((match[0].strip(), words))
        # Punctuation beside it may vanish later: without spaces two numbers would become one word.
        return f" {words}" if re.match(r"'[^\W\d_]", plain[match.end() :]) else f" {words} "

    signed = re.sub(r"(?<!\S)([-\u2212])(?=[.\d$\u00a3\u20ac\u00a5])", "minus ", plain)
    plain = re.sub(r"(?<=\d)\s?%", " percent", signed)
    return _NUMBERS.sub(said, plain), tuple(found)


def _ascii_digits(character: str) -> str:
    """Digits of other scripts, superscripts and fractions in the characters 0 to 9."""
    if character.isascii() or not character.isnumeric():
        return character
    decimal = unicodedata.digit(character, None)
    if decimal is not None:
        return str(decimal)
    compatible = unicodedata.normalize("NFKC", character)
    if re.search(r"[0-9]", compatible):
        return f" {compatible} "
    return character


def _in_words(match: re.Match[str], text: str) -> str:
    kind = match.lastgroup
    # The groups within a kind close before it does, so that the kind is the last one.
    if kind == "money":
        sign = match[0][0]
        return _money(match["sum"], sign, match["large"] or _SHORT.get((match["short"] or "").lower()))
    if kind == "after":
        return _money(match["sum_before"], match["sign_after"], None)
    if kind == "clock":
        return _clock(match, half_day=bool(re.match(r"\s?[ap]\.?m\b", text[match.end() :], re.IGNORECASE)))
    if kind == "ordinal":
        return _ordinal(match["rank"])
    if kind == "decade":
        return _plural(_whole(match["ten"].lstrip("'")))
    if kind == "fraction":
        return _fraction(int(match["above"]), int(match["below"]))
    if kind == "decimal":
        parts = [" ".join(_DIGITS[int(digit)] for digit in part) for part in match["places"].split(".")[1:]]
        if match["places"].count(".") > 1:  # a version, an address
            parts = [_whole(part) for part in match["places"].split(".")[1:]]
        return " point ".join([_counted(match["before"]) if match["before"] else "", *parts]).strip()
    return _whole(match["whole"])


@lru_cache(maxsize=65536)
def _words(value: str, to: str) -> str:
    return " ".join(re.sub(r"[-,]", " ", num2words(value, to=to)).split())


def _by_digits(digits: str) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in digits)


def _counted(written: str) -> str:
    """A number that counts something."""
    digits = written.replace(",", "")
    if len(digits) > _LONGEST or (len(digits) > 1 and digits[0] == "0"):
        return _by_digits(digits)
    return _words(digits, "cardinal")


def _whole(written: str) -> str:
    is_year = len(written) == 4 and 1100 <= int(written) <= 2099
    return _words(written, "year") if is_year else _counted(written)


def _ordinal(written: str) -> str:
    digits = written.replace(",", "")
    return _words(digits, "ordinal") if len(digits) <= _LONGEST else f"{_by_digits(digits[:-1])} {_ordinal(digits[-1])}"


def _clock(match: re.Match[str], *, half_day: bool) -> str:
    hour, minute = _words(str(int(match["hour"])), "cardinal"), int(match["minute"])
    if minute == 0:
        words = hour if half_day or match["second"] else f"{hour} o'clock"
    else:
        words = f"{hour} {'oh ' * (minute < 10)}{_words(str(minute), 'cardinal')}"
    return f"{words} and {_words(str(int(match['second'])), 'cardinal')} seconds" if match["second"] else words


def _money(written: str, sign: str, large: str | None) -> str:
    whole, _, places = written.replace(",", "").partition(".")
    one, several, hundredth, hundredths = _CURRENCIES[sign]
    if large or len(places) not in (0, 2) or not hundredth:
        number = " point ".join([_counted(whole), *([_by_digits(places)] if places else [])])
        return f"{number} {large.lower()} {several}" if large else f"{number} {one if number == 'one' else several}"
    parts = [f"{_counted(whole)} {one if whole == '1' else several}"] if whole.strip("0") or not places else []
    if places.strip("0") or not parts:
        parts.append(f"{_words(str(int(places)), 'cardinal')} {hundredth if places == '01' else hundredths}")
    return " ".join(parts)


def _fraction(above: int, below: int) -> str:
    if not 2 <= below <= 20 or not 1 <= above < below:
        return f"{_words(str(above), 'cardinal')} {_words(str(below), 'cardinal')}"
    one, several = _PARTS.get(below) or (_ordinal(str(below)), _ordinal(str(below)) + "s")
    return f"{_words(str(above), 'cardinal')} {one if above == 1 else several}"


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + "s"
