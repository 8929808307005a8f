"""Texts of users, made fit for a terminal, a page and a file."""

import pytest

from harness.errors import escaped, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x00", "\\x1b[31mred\\x00"),
        ("over\rwritten\x08", "over\\rwritten\\x08"),
        ("\x9b2J", "\\x9b2J"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("half \udc80", "half \\udc80"),
        ("two\r\nlines,\ta tab", "two\r\nlines,\ta tab"),
        ("Ünïcödé 金 👩\u200d🔬 a\u00a0b", "Ünïcödé 金 👩\u200d🔬 a\u00a0b"),
    ],
)
def test_what_would_steer_a_terminal_is_shown(text, shown):
    """Control characters, turns of direction and half characters are shown; other text stays."""
    assert escaped(text) == shown
    assert shown.encode()


def test_one_line_has_no_line_ends():
    """Line ends of any kind and runs of blanks are one blank."""
    assert one_line(" a\r\n\x0bb\u2028c\td\x1b ") == "a b c d\\x1b"
