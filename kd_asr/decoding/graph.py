"""The decoding graph: everything that may be said, as one transducer from HMM states to words.

HCLG = H o det(min(C o L o G)) (M. Mohri, F. Pereira, M. Riley, "Weighted finite-state transducers in speech
recognition", Computer Speech and Language 16, 2002), made as Kaldi's `mkgraph.sh` makes it, but with H applied last.
With monophones C is the identity. H has three states for a phone, or the one of sequence training.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import kaldifst
import numpy as np

from kd_asr.alignment.lexicon import Lexicon
from kd_asr.artifacts import damaged
from kd_asr.decoding.arpa import read_vocabulary
from kd_asr.decoding.context import AnyTopology, compose_context, phone_chains
from kd_asr.decoding.fst_arrays import FstArrays, from_kaldifst, to_kaldifst
from kd_asr.decoding.lexicon_fst import Entry, lexicon_fst
from kd_asr.decoding.state_chains import expand_to_states
from kd_asr.errors import UserError
from kd_asr.sequence.topology import STAY, OneStateTopology

GRAPH_FILE = "HCLG.fst"
WORDS_FILE = "words.txt"
EPSILON = "<eps>"
BACKOFF = "#0"
_TO_FST = (
    "import sys, kaldilm; arpa, fst, backoff, table = sys.argv[1:]; "
    "kaldilm.arpa2fst(arpa, fst, disambig_symbol=backoff, read_symbol_table=table, max_arpa_warnings=0)"
)


def grammar_fst(arpa: Path, words: Sequence[str]) -> kaldifst.StdVectorFst:
    """G, the n-gram model as an acceptor of words whose back-off arcs read `#0`.

    Args:
        arpa: ARPA file, gzipped or not.
        words: `words[i]` has label i; n-grams with other words are left out.
    """
    with tempfile.TemporaryDirectory(prefix="kd-asr-") as name:
        folder = Path(name)
        plain = arpa
        if arpa.suffix == ".gz":
            plain = folder / "lm.arpa"
            try:
                with gzip.open(arpa) as source, plain.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise damaged(arpa, error) from error
        table = folder / "words.txt"
        write_words(table, words)
        # In a process of its own: what kaldilm does not like it ends with an abort.
        done = subprocess.run(
            [sys.executable, "-c", _TO_FST, str(plain), str(folder / "G.fst"), BACKOFF, str(table)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise UserError(
                f"{arpa} cannot be made a graph: kaldilm ended with status {done.returncode}"
                f"{f' ({said[-1].strip()})' if said else ''}"
            )
        return kaldifst.StdVectorFst.read(str(folder / "G.fst"))


def compose_and_determinise(lexicon: FstArrays, grammar: kaldifst.StdVectorFst) -> FstArrays:
    """LG = min(det(L o G)), deterministic in phones and disambiguation symbols."""
    left = to_kaldifst(lexicon)
    kaldifst.arcsort(left, sort_type="olabel")
    kaldifst.arcsort(grammar, sort_type="ilabel")
    composed = kaldifst.compose(left, grammar)
    kaldifst.determinize_star(composed, use_log=True)
    kaldifst.minimize_encoded(composed)
    return from_kaldifst(composed)


def write_words(path: Path, words: Sequence[str]) -> None:
    """Write the word table, `word label` a line."""
    path.write_text("".join(f"{word} {label}\n" for label, word in enumerate(words)), encoding="utf-8")


def read_words(path: Path) -> list[str]:
    """The words by label, from a table that `write_words` wrote.

    Raises:
        UserError: the table is missing, or its labels do not count up from 0.
    """
    try:
        rows = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a table of words: {error}") from error
    for number, row in enumerate(rows):
        if len(row) != 2 or row[1] != str(number):
            raise UserError(f"{path}, line {number + 1}: not `word {number}`: build the graph again")
    return [word for word, _ in rows]


def decoding_graph(
    lexicon: Lexicon, arpa: Path, topology: AnyTopology, *, silence_probability: float, self_loop_scale: float = 1.0
) -> tuple[FstArrays, list[str]]:
    """HCLG and its word table.

    Args:
        lexicon: pronunciations; words of the language model that it lacks are left out, and so are words that the
            language model lacks.
        arpa: language model.
        topology: pdfs and loop probabilities; with the one-state topology a frame is one of every third.
        silence_probability: of silence at each place where it may stand, 0 < p < 1.
        self_loop_scale: weight of the costs of staying in a state and leaving it.

    Returns:
        HCLG, from pdf + 1 to labels of words, and the words by label: `<eps>` is 0.

    Raises:
        UserError: the language model and the lexicon share no word, or a pronunciation has a phone that the topology
            lacks.
    """
    entries = _entries(read_vocabulary(arpa), lexicon)
    if not entries:
        raise UserError(f"{arpa} and the lexicon share no word: are both in upper case?")
    words = [EPSILON, *dict.fromkeys(word for word, _, _ in entries), BACKOFF]
    fst = _graph_of(
        entries,
        grammar_fst(arpa, words),
        words,
        topology,
        silence_probability=silence_probability,
        self_loop_scale=self_loop_scale,
    )
    return fst, words[:-1]


def sentence_graph(
    sentence: Sequence[str],
    costs: Sequence[float],
    lexicon: Lexicon,
    topology: AnyTopology,
    *,
    silence_probability: float,
    self_loop_scale: float = 1.0,
) -> tuple[FstArrays, list[str]]:
    """HCLG of a single sentence, and its word table; what a search costs in it, it would cost in a graph with all.

    Args:
        sentence: its words, all in the lexicon.
        costs: costs of the language model, of each word and of the end.
        lexicon: pronunciations.
        topology: as in `decoding_graph`, like the others.
        silence_probability: of silence at each place where it may stand.
        self_loop_scale: weight of the costs of staying in a state and leaving it.
    """
    words = [EPSILON, *dict.fromkeys(sentence), BACKOFF]
    grammar = kaldifst.StdVectorFst()
    for place, cost in enumerate(costs):
        grammar.add_state()
        if place < len(sentence):
            label = words.index(sentence[place])
            grammar.add_arc(place, kaldifst.StdArc(label, label, cost, place + 1))
        else:
            grammar.set_final(place, cost)
    grammar.start = 0
    entries = _entries(dict.fromkeys(sentence), lexicon)
    fst = _graph_of(
        entries,
        grammar,
        words,
        topology,
        silence_probability=silence_probability,
        self_loop_scale=self_loop_scale,
    )
    return fst, words[:-1]


def _entries(words: Iterable[str], lexicon: Lexicon) -> list[Entry]:
    """Pronunciations of those words that have any."""
    return [
        (word, phones, cost)
        for word in words
        if word in lexicon.pronunciations
        for phones, cost in zip(lexicon.pronunciations[word], lexicon.variant_costs(word), strict=True)
    ]


def _graph_of(
    entries: Sequence[Entry],
    grammar: kaldifst.StdVectorFst,
    words: Sequence[str],
    topology: AnyTopology,
    *,
    silence_probability: float,
    self_loop_scale: float,
) -> FstArrays:
    """HCLG of pronunciations and a grammar whose labels are those of `words`, `#0` the last of them."""
    known = {phone: number for number, phone in enumerate(topology.phones, start=1)}
    for word, phones, _ in entries:
        missing = [phone for phone in phones if phone not in known]
        if missing:
            raise UserError(f"{word} has the phone {missing[0]}, which the aligned model lacks: run align again")
    labels = {word: label for label, word in enumerate(words)}
    left, num_disambiguation = lexicon_fst(entries, phones=known, words=labels, silence_probability=silence_probability)
    composed = compose_and_determinise(left, grammar)
    if topology.tree is None:
        chains = phone_chains(topology, num_disambiguation)
    else:
        composed, chains = compose_context(composed, topology, num_disambiguation)
    if isinstance(topology, OneStateTopology):
        stay = np.full(topology.num_pdfs, STAY)
        return expand_to_states(
            composed, chains[:, :1], stay, loop_pdfs=chains[:, 1:], self_loop_scale=self_loop_scale
        )
    return expand_to_states(composed, chains, np.array(topology.self_loop), self_loop_scale=self_loop_scale)
