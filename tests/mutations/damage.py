"""Damage to files for tests: bytes that a disk, a network, an editor or another program may have left."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st

# What readers of numbers, lines, fields and sizes stumble over.
TOKENS: tuple[bytes, ...] = (
    *(b"\0", b"\r", b"\r\n", b"\n", b"\t", b" ", b"\x1a", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf"),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff\xfe", b"\\", b'"', b"'", b"{", b"}", b"[", b"]"),
    *(b"nan", b"inf", b"-inf", b"1e999", b"-1e999", b"1e-999", b"1_0", b"\xd9\xa3", b"-1", b"0", b"9" * 25, b"0x10"),
    *(b"<s>", b"</s>", b"<unk>", b"<eps>", b"#0", b"!SIL", b"[noise]", b"# ", b";;", b"(2)", b"null", b"true", b"{}"),
    *(b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80"),
    *(b"[" * 3000, b'{"a":' * 3000, b"- " * 3000, b"x" * 200_000, b"&a [*a]", b"!!python/object:os.system", b"../"),
)


def _damage(draw: st.DrawFn, content: bytes) -> bytes:
    """One change of a content that is not empty."""
    size = len(content)
    start = draw(st.integers(0, size))
    # Most faults are small; some take half a file.
    end = min(size, start + draw(st.one_of(st.integers(0, 8), st.integers(0, size))))
    kind = draw(st.integers(0, 7))
    if kind == 0:  # cut short
        return content[:start]
    if kind == 1:  # a piece lost
        return content[:start] + content[end:]
    if kind == 2:  # a piece twice
        return content[:end] + content[start:]
    if kind == 3:  # bits flipped
        flipped = bytearray(content)
        for place in draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4)):
            flipped[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(flipped)
    if kind == 4:  # bytes of something else
        return content[:start] + draw(st.binary(max_size=40)) + content[end:]
    if kind == 5:  # a piece from elsewhere in the file
        other = draw(st.integers(0, size - 1))
        return content[:start] + content[other : other + end - start] + content[end:]
    token = draw(st.sampled_from(TOKENS))
    if kind == 6:
        return content[:start] + token + content[start:]
    return content[:start] + token + content[start + len(token) :]


@st.composite
def damaged(draw: st.DrawFn, contents: Sequence[bytes]) -> bytes:
    """One of several contents after one to three changes, or bytes at random."""
    if draw(st.integers(0, 15)) == 0:
        return draw(st.binary(max_size=300))
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(1, 3))):
        if content:
            content = _damage(draw, content)
    return content
