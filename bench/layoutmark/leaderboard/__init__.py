"""Leaderboards: a pure function of committed entries, which hold every image's scores and a chain of digests."""

from layoutmark.leaderboard.board import build_board
from layoutmark.leaderboard.check import check_board
from layoutmark.leaderboard.entry import Board, Entry, open_board
from layoutmark.leaderboard.submit import submit

__all__ = ["Board", "Entry", "build_board", "check_board", "open_board", "submit"]
