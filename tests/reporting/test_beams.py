from kd_asr.reporting.beams import beam_table, plot_beams

ROWS = [
    {
        "beam": beam,
        "wer": wer,
        "search_real_time_factor": time,
        "network_real_time_factor": 0.002,
        "unfinished": unfinished,
    }
    for beam, wer, time, unfinished in ((7.0, 0.4, 0.01, 2), (13.0, 0.35, 0.1, 0))
]


def test_table_by_hand() -> None:
    assert beam_table(ROWS, "student-00").rows == (
        ("7", "40.00", "+5.00", "0.0100", "0.0120", "2"),
        ("13", "35.00", "+0.00", "0.1000", "0.1020", "0"),
    )


def test_the_plot_is_the_same_each_time(tmp_path) -> None:
    for name in ("a.png", "b.png"):
        plot_beams(ROWS, "student-00", "", "a corpus", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
