"""Queries that every pool reads, over a table `texts(id, t, a)`, with what they select as Python says it."""

from collections.abc import Callable

TEXTS = [
    "\\:x", ":x", "::y", "100%", "%(t)s", "%s", "50%%", "?", "what? :t", "--", "/* ; */", "a;b", "two\nlines", "'", "ünï 東 𝄞",
    "{t}", "$1", "@p1", "plain", "[x]", '"', "\ue0b50\ue0b6",
]  # fmt: skip
"""What somebody's query may compare with: every mark that means something to SQLAlchemy, to a driver or to a dialect."""


def literal(text: str) -> str:
    """As both dialects write it."""
    # DuckDB reads N'...' as text, too, and a server keeps what its code page has not only so.
    return "N'" + text.replace("'", "''") + "'"


Chosen = Callable[[int, str], bool]

QUERIES: dict[str, tuple[str, Chosen]] = {
    **{
        f"a text of {text!r}": (
            f"SELECT id, t, a FROM texts WHERE t = {literal(text)}",
            lambda _, found, wanted=text: found == wanted,
        )
        for text in TEXTS
    },
    "a comment at its end": ("SELECT id, t, a FROM texts WHERE id > 3 -- not :all? 100%", lambda index, _: index > 3),
    "semicolons at its end": ("SELECT id, t, a FROM texts WHERE id > 3; -- done;\n;\n", lambda index, _: index > 3),
    "a comment with a quote": (
        "/* it's :here? ; */ SELECT id, t, a FROM texts WHERE id > 3 /* ) */",
        lambda index, _: index > 3,
    ),
    "a cast": ("SELECT id, t, a FROM texts WHERE id = CAST('5' AS INT) % 3", lambda index, _: index == 2),
    "WITH": (
        """WITH few AS (SELECT id, t, a FROM texts WHERE t <> ':x'), fewer (n) AS (SELECT id FROM few WHERE id < 9)
        SELECT few.id, few.t, few.a FROM few INNER JOIN fewer ON fewer.n = few.id -- these""",
        lambda index, text: index < 9 and text != ":x",
    ),
    "WITH and UNION": (
        """WITH source AS (SELECT id, t, a FROM texts) -- all of them
        SELECT * FROM source WHERE id = 1 UNION ALL SELECT * FROM source WHERE id > 15;""",
        lambda index, _: index == 1 or index > 15,
    ),
    "ORDER BY": ("SELECT id, t, a FROM texts WHERE id < 5 ORDER BY a DESC, t -- so", lambda index, _: index < 5),
    "WITH and ORDER BY": (
        "WITH few AS (SELECT id, t, a FROM texts WHERE id < 5) SELECT id, t, a FROM few ORDER BY id;",
        lambda index, _: index < 5,
    ),
    "ORDER BY that decides": (
        "SELECT id, t, a FROM texts ORDER BY id OFFSET 3 ROWS",
        lambda index, _: index >= 3,
    ),
    "ORDER BY in a window": (
        "SELECT id, t, a FROM (SELECT id, t, a, ROW_NUMBER() OVER (ORDER BY id) AS n FROM texts) AS counted WHERE n <= 4",
        lambda index, _: index < 4,
    ),
}


def expected(chosen: Chosen) -> list[int]:
    return [index for index, text in enumerate(TEXTS) if chosen(index, text)]
