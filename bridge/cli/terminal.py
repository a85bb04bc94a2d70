"""Text from outside, fit for a terminal."""

from __future__ import annotations

import unicodedata


def escape(text: str) -> str:
    """``text`` with every character that does not print made visible, such as ``\\x1b`` for ESC."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(json_text: str) -> str:
    """The same JSON on one line and safe for a terminal. Escapes and blanks change, values never do.

    In valid JSON a line break is white space between tokens, and any other character that does not
    print stands inside a string, where ``\\uXXXX`` means the same (RFC 8259 section 7).
    """
    if json_text.isprintable():
        return json_text
    return "".join(char if char.isprintable() else _json_escape(char) for char in json_text)


def _json_escape(char: str) -> str:
    if char in "\r\n\t":
        return " "
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def text_width(text: str) -> int:
    """Terminal columns: two for East Asian wide characters, none for combining ones (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text: str, width: int) -> str:
    """``text`` cut to ``width`` columns, the cut shown as ``…``."""
    if text_width(text) <= width:
        return text
    while text and text_width(text) > width - 1:
        text = text[:-1]
    return text + "…"
