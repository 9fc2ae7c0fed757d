"""The history of a board: values, changes, and drawings."""

from layoutmark.leaderboard import history

AP50 = {"name": "ap50", "title": "AP50"}
TABLE = {"metrics": [AP50]}


def line(*values: float | None, changed: tuple[int, ...] = ()) -> dict:
    return {
        "track": "authors",
        "name": "paint",
        "entries": [{"entry": k, "version": "1", "values": {"ap50": v}} for k, v in enumerate(values, start=1)],
        "changes": [{"entry": k, "metric": "ap50", "difference": 0.1, "low": 0.05, "high": 0.15} for k in changed],
    }


def test_each_entry_has_its_values_and_what_changed() -> None:
    rows = history.rows(TABLE, line(0.1, 0.2, None, changed=(2,)))
    assert rows == [
        ["0001", "1", "0.100"],
        ["0002", "1", "0.200 changed +0.100 [0.050, 0.150]"],
        ["0003", "1", "not scored"],
    ]


def test_drawings_mark_changes_and_leave_out_what_was_not_scored() -> None:
    drawn = history.drawing(line(0.1, None, 0.2, changed=(3,)), AP50)
    assert drawn.count('r="2"') == 2
    assert drawn.count('r="5"') == 1
    assert "AP50 over 3 entries, 1 change" in drawn
    assert history.drawing(line(0.1, None), AP50) == ""


def test_equal_values_are_drawn_on_one_line() -> None:
    drawn = history.drawing(line(0.3, 0.3), AP50)
    assert "22.0" in drawn
    assert "nan" not in drawn
