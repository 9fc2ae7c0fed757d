"""The history of a board: values, changes, sparklines."""

from layoutmark.leaderboard.history import HistoryRow, ScoreText, history_rows, make_sparkline

AP50 = {"name": "ap50", "title": "AP50"}
TABLE = {"metrics": [AP50]}


def make_line(*values: float | None, changed: tuple[int, ...] = ()) -> dict:
    return {
        "track": "authors",
        "name": "paint",
        "entries": [{"entry": k, "version": "1", "values": {"ap50": v}} for k, v in enumerate(values, start=1)],
        "changes": [{"entry": k, "metric": "ap50", "difference": 0.1, "low": 0.05, "high": 0.15} for k in changed],
    }


def test_each_entry_has_its_values_and_changes() -> None:
    assert history_rows(TABLE, make_line(0.1, 0.2, None, changed=(2,))) == [
        HistoryRow("0001", "1", [ScoreText("0.100")]),
        HistoryRow("0002", "1", [ScoreText("0.200 changed +0.100", "[0.050, 0.150]")]),
        HistoryRow("0003", "1", [ScoreText("not scored")]),
    ]


def test_sparklines_mark_changes_and_skip_missing_scores() -> None:
    sparkline = make_sparkline(make_line(0.1, None, 0.2, changed=(3,)), AP50)
    assert sparkline is not None
    assert sparkline.points == [(7.0, 37.0), (143.0, 7.0)]
    assert sparkline.changed_points == [(143.0, 7.0)]
    assert sparkline.label == "AP50 over 3 entries, 1 change"
    assert make_sparkline(make_line(0.1, None), AP50) is None


def test_equal_values_lie_in_the_middle() -> None:
    sparkline = make_sparkline(make_line(0.3, 0.3), AP50)
    assert sparkline is not None
    assert [y for _, y in sparkline.points] == [22.0, 22.0]
