"""Train, dev and test share no speakers: sets are checked for it, and set apart by speaker where there is only one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kd_asr.corpora.manifest import Utterance
from kd_asr.errors import UserError


def set_apart(utterances: Sequence[Utterance], shares: Mapping[str, float], *, seed: int) -> dict[str, list[Utterance]]:
    """Divide utterances by speaker.

    The speakers are put into a random order that `seed` alone decides. Each share takes speakers from it, at least one,
    until its speech is nearest to what it should have; the others stay in train.

    Args:
        utterances: of all speakers, in any order.
        shares: of each set to be set apart, its share of the seconds.
        seed: of the order.

    Returns:
        `train` and the sets of `shares`, each in the order of the utterances.

    Raises:
        UserError: there are too few speakers.
    """
    seconds: dict[str, float] = {}
    for item in utterances:
        seconds[item.speaker_id] = seconds.get(item.speaker_id, 0.0) + item.seconds
    names = sorted(seconds)
    if len(names) <= len(shares):
        raise UserError(
            f"{', '.join(shares)} cannot be set apart from train, which has {len(names)} "
            f"speaker{'s' * (len(names) != 1)}: name {' and '.join(f'--{name}' for name in shares)}"
        )
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    total, owner, taken = sum(seconds.values()), dict.fromkeys(names, "train"), 0
    for position, (name, share) in enumerate(shares.items(), start=1):
        # One speaker has to be left for train, and for each share to come.
        candidates = order[taken : len(order) - (len(shares) - position) - 1]
        reached = np.cumsum([seconds[speaker] for speaker in candidates])
        count = 1 + int(np.abs(reached - share * total).argmin())
        owner |= dict.fromkeys(candidates[:count], name)
        taken += count
    return {name: [item for item in utterances if owner[item.speaker_id] == name] for name in ("train", *shares)}


def check_speakers(sets: Mapping[str, Sequence[Utterance]]) -> None:
    """Refuse speakers that are in more than one of train, dev and test.

    Raises:
        UserError: names the two sets and the speakers.
    """
    names = list(sets)
    speakers = {name: {item.speaker_id for item in sets[name]} for name in names}
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            shared = sorted(speakers[first] & speakers[second])
            if shared:
                shown = ", ".join(shared[:10]) + (f" and {len(shared) - 10} more" if len(shared) > 10 else "")
                raise UserError(
                    f"{first} and {second} share speakers ({shown}): results would be too good; "
                    "choose subsets whose speakers differ"
                )
