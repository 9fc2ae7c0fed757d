"""Leaderboards: a pure function of committed entries, which hold every image's scores and a chain of digests."""

from layoutmark.leaderboard.board import build_board
from layoutmark.leaderboard.check import check_board
from layoutmark.leaderboard.entry import (
    AUTHORS,
    ENTRIES,
    FACTS,
    REFERENCE,
    Board,
    Entry,
    board_protocol,
    file_digest,
    open_board,
)
from layoutmark.leaderboard.entry_validation import refuse_odd
from layoutmark.leaderboard.submit import submit

__all__ = [
    "AUTHORS", "ENTRIES", "FACTS", "REFERENCE", "Board", "Entry", "board_protocol", "build_board", "check_board",
    "file_digest", "open_board", "refuse_odd", "submit",
]  # fmt: skip
