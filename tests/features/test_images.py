import torch

from kd_asr.features.images import Images, averaged


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """The image moved by hand, pixel by pixel."""
    height, width = image.shape
    moved = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[y, x] = image[y - down, x - right]
    return moved


def pixels() -> torch.Tensor:
    return torch.randint(1, 256, (3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_without_jitter_images_are_rows_from_0_to_1() -> None:
    images = Images(pixels())
    chosen = images[torch.tensor([2, 0, 2])]
    assert len(images) == 3
    assert torch.equal(chosen, pixels()[[2, 0, 2]].reshape(3, -1).float() / 255)


def test_jitter_makes_every_shift_and_no_other() -> None:
    torch.manual_seed(0)
    images = Images(pixels(), jitter_pixels=2)
    drawn = {tuple((row * 255).round().int().tolist()) for row in images[torch.ones(2000, dtype=torch.int64)]}
    expected = {
        tuple(shifted(pixels()[1], down, right).flatten().int().tolist())
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    assert drawn == expected


def test_jitter_repeats_with_torchs_generator() -> None:
    images = Images(pixels(), jitter_pixels=1)
    some = torch.arange(3).repeat(20)
    torch.manual_seed(5)
    first, second = images[some], images[some]
    torch.manual_seed(5)
    assert torch.equal(images[some], first)
    assert not torch.equal(first, second)


def test_a_lower_resolution_is_the_rounded_mean_of_squares() -> None:
    images = torch.randint(0, 256, (2, 4, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    found = averaged(images, 2)
    assert found.shape == (2, 2, 3)
    assert found.dtype == torch.uint8
    for number in range(2):
        for row in range(2):
            for column in range(3):
                square = images[number, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double()
                assert abs(int(found[number, row, column]) - square.mean()) <= 0.5
    assert averaged(images, 1) is images
