"""The word list of `make lint` finds replaced words, and only in prose and names."""

from __future__ import annotations

import pytest

from .word_list import check_file, check_python, check_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A picture of a guest.", ["picture", "guest"]),
        ("This is no mapping.", ["is no "]),
        ("There is no overall score.", []),
        ("It is no longer used.", []),
    ],
)
def test_replaced_words_are_found_in_a_text(text: str, words: list[str]) -> None:
    assert [word for _, word, _ in check_text(text)] == words


def test_strings_are_not_checked_but_names_comments_and_docstrings_are() -> None:
    source = '"""A shelf."""\nkey = "picture"\nfirst_picture = key  # made anew\nfound = 1\n'
    words = [(line, word) for line, word, _ in check_python(source)]
    assert sorted(words) == [(1, "shelf"), (3, "anew"), (3, "picture"), (4, "found")]


def test_exempted_lines_are_not_checked(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import word_list

    monkeypatch.setattr(word_list, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text("one picture\none picture  <!-- words: ok -->\n")
    assert list(check_file(path)) == ["page.md:1: 'picture'; use 'image'"]
