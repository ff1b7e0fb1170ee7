"""Masks over time and frequency."""

import torch

from kd_asr.features.masks import masked

BATCH, FRAMES, BINS = 4000, 12, 10


def _hidden(frequency_mask: int, time_mask: int) -> torch.Tensor:
    torch.manual_seed(1)
    inputs = torch.ones(BATCH, FRAMES, BINS)
    seen = masked(inputs, frequency_mask=frequency_mask, time_mask=time_mask)
    assert torch.equal(inputs, torch.ones_like(inputs))
    assert torch.equal(seen * (1 - seen), torch.zeros_like(seen))
    return seen == 0


def test_a_frequency_mask_hides_neighbouring_bins_of_all_frames() -> None:
    hidden = _hidden(4, 0)
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    rows = hidden[:, 0]
    widths = rows.sum(dim=1)
    # Each width from 0 to 4 comes with probability 1/5: standard deviation 0.0063 of 4000.
    assert torch.allclose(torch.bincount(widths, minlength=5) / BATCH, torch.full((5,), 0.2), atol=0.03)
    # One stretch: at most one place where a hidden bin follows one that is not, and every place occurs.
    begins = (rows[:, 1:] & ~rows[:, :-1]).sum(dim=1) + rows[:, 0]
    assert torch.equal(begins, (widths > 0).long())
    assert {int(row.nonzero()[0]) for row in rows[widths == 4]} == set(range(BINS - 4 + 1))


def test_a_time_mask_hides_whole_frames_and_both_may_overlap() -> None:
    hidden = _hidden(0, 5)
    assert torch.equal(hidden, hidden[:, :, :1].expand_as(hidden))
    assert hidden[:, :, 0].sum(dim=1).max() == 5
    both = _hidden(4, 5)
    frequency, time = both.all(dim=1), both.all(dim=2)
    assert torch.equal(both, frequency[:, None] | time[:, :, None])


def test_masks_as_wide_as_the_input_and_none() -> None:
    assert not _hidden(0, 0).any()
    everything = _hidden(BINS, 0)
    assert everything.flatten(1).all(dim=1).float().mean() > 0.05  # one in eleven
