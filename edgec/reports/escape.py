"""Names come from the model's author, so in a report they are data: shown, never interpreted.

A tensor may be called `</td><script>…`, `|` or `\\x1b[2J`. `visible` removes what would act invisibly in any
medium (control characters, bidirectional overrides, lone surrogates); each renderer then escapes for its own.
"""

from __future__ import annotations

import re
import unicodedata

# Cc control, Cf format (bidirectional overrides, zero-width), Cs lone surrogates, Cn unassigned (U+FFFE is no
# XML character), Zl and Zp line and paragraph separators.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&$#!])|(:)(?=//)|(?<=www)(\.)|^([-+=])|^(\d+)([.)])(?=\s)")


def visible(text: str) -> str:
    """Return `text` with every character that acts instead of showing written as an escape like `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _ACTING else char for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def markdown_text(text: str) -> str:
    """Return `text` as Markdown that renders as exactly these characters: no markup, no links, one cell."""
    # `http\\://` and `www\\.` stop GitHub from making links of what a model says.
    return _MARKDOWN.sub(_backslashed, visible(text))


def _backslashed(found: re.Match[str]) -> str:
    return f"{found[5]}\\{found[6]}" if found[5] else f"\\{found[0]}"


def markdown_code(text: str) -> str:
    """Return a name as a Markdown code span that fits into a table cell."""
    name = visible(text)
    # A table is cut at pipes before spans are read, and a span cannot hold `\\|` or hug its own spaces.
    if not name.strip() or "\\|" in name or name.endswith("\\") or name != name.strip():
        return markdown_text(name)
    longest = max((len(run) for run in re.findall("`+", name)), default=0)
    fence, pad = "`" * (longest + 1), " " if "`" in name else ""
    return f"{fence}{pad}{name}{pad}{fence}".replace("|", "\\|")
