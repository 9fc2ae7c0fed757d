"""Leaderboards, computed only from committed entries: scores of every image, linked by a chain of digests."""

from layoutmark.leaderboard.board import build_board
from layoutmark.leaderboard.check import check_board
from layoutmark.leaderboard.entry import (
    AUTHORS,
    ENTRIES_FOLDER,
    ENTRY_FILE,
    REFERENCE,
    Board,
    Entry,
    file_digest,
    make_board_protocol,
    open_board,
)
from layoutmark.leaderboard.entry_validation import check_entry
from layoutmark.leaderboard.submit import submit

__all__ = [
    "AUTHORS", "ENTRIES_FOLDER", "ENTRY_FILE", "REFERENCE", "Board", "Entry", "build_board", "check_board",
    "check_entry", "file_digest", "make_board_protocol", "open_board", "submit",
]  # fmt: skip
