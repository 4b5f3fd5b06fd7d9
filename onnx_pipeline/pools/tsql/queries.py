"""A scoring's own query as T-SQL takes it within a statement: what may stand only outside is moved there, or refused.

A derived table takes no WITH, and an ORDER BY only beside TOP or OFFSET (Msg 156, 1033). So the WITH goes to the front of
the statement, and an ORDER BY that decides nothing is left out. Everything else stays as it was written.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnx_pipeline.base.errors import SpecError

__all__ = ["Parts", "parts_of", "put_in"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\r\n]*)
      | (?P<comment>/\*)
      | (?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\])
      | (?P<word>[\w@#$]+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")

_VIEW = "CREATE VIEW with it, and name the view: source: {table: <view>}"


@dataclass(frozen=True)
class Parts:
    """A query in two."""

    common: str
    """What follows its WITH, up to the SELECT; empty where it has none."""
    body: str
    """The SELECT, as a derived table may hold it."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    depth: int
    """Brackets around it."""


def put_in(statement: str, mark: str, query: str) -> str:
    """The statement with the query where `mark` is, and the query's WITH at the front."""
    parts = parts_of(query)
    text = statement.replace(mark, f"{parts.body}\n")
    if not parts.common:
        return text
    other = re.match(r"\s*WITH\s", text, re.IGNORECASE)
    if other is not None:
        return f"WITH {parts.common}\n, {text[other.end() :]}"
    return f"WITH {parts.common}\n{text}"


def parts_of(query: str) -> Parts:
    """The query's WITH and its SELECT; SpecError, which names a way out, for what fits in no statement."""
    tokens = [token for token in _tokens(query) if token.kind != "space"]
    left_out: list[tuple[int, int]] = []
    for place in (-1, 0):
        while tokens and tokens[place].text == ";":
            token = tokens.pop(place)
            left_out.append((token.start, token.end))
    _check_statement(query, tokens)
    common = ""
    if tokens[0].text == "WITH":
        rest = _after_with(query, tokens)
        common = query[tokens[1].start : rest[0].start].rstrip()
        left_out.append((tokens[0].start, rest[0].start))
        tokens = rest
    order = _idle_order(tokens)
    if order is not None:
        left_out.append((order.start, tokens[-1].end))
    body, end = "", 0
    for start, stop in sorted(left_out):
        body, end = body + query[end:start], stop
    return Parts(common, body + query[end:])


def _check_statement(query: str, tokens: Sequence[_Token]) -> None:
    if not tokens or tokens[0].text not in ("SELECT", "WITH", "("):
        first = query[tokens[0].start : tokens[0].end] if tokens else ""
        raise SpecError(
            f"source: a query is one SELECT, and this one begins with {first!r}. Leave out what stands before the SELECT, or "
            f"{_VIEW}."
        )
    for token in tokens:
        variable = token.kind == "word" and token.text.startswith("@") and not token.text.startswith("@@")
        if variable or (token.kind == "mark" and token.text == "?"):
            # Ours would be bound to it, and choose rows: drivers call them @P1, @P2.
            raise SpecError(
                f"source: the query takes a parameter, and nothing fills it: {_near(query, token)}. Write the value itself"
            )
    outer = [token for token in tokens if token.depth == 0]
    for token, follower in zip(outer, [*outer[1:], None], strict=True):
        if token.text == ";":
            raise SpecError(
                f"source: a query is one SELECT, and this one goes on after a semicolon: {_near(query, token)}. Leave one of "
                f"them, or {_VIEW}."
            )
        if token.text == "OPTION" and follower is not None and follower.text == "(":
            raise SpecError(
                f"source: T-SQL takes hints for a whole statement alone, and the query stands within one: "
                f"{_near(query, token)}. Leave the OPTION clause out."
            )


def _after_with(query: str, tokens: list[_Token]) -> list[_Token]:
    """The tokens from the SELECT on: after a bracket that neither `,` nor `AS` follows, since every table of a WITH ends in one."""
    for index in range(1, len(tokens) - 1):
        token, follower = tokens[index], tokens[index + 1]
        if token.text == ")" and token.depth == 0 and follower.text not in (",", "AS"):
            return tokens[index + 1 :]
    raise SpecError(f"source: no SELECT follows the WITH of the query: {_near(query, tokens[0])}")


def _idle_order(tokens: Sequence[_Token]) -> _Token | None:
    """Where an ORDER BY begins that decides nothing: neither which rows there are, nor how they become one text."""
    outer = [token for token in tokens if token.depth == 0]
    words = [token.text for token in outer]
    for index in reversed(range(len(words) - 1)):
        if words[index : index + 2] == ["ORDER", "BY"]:
            # A TOP is of one SELECT, and after several the order is of all.
            several = not {"UNION", "EXCEPT", "INTERSECT"}.isdisjoint(words[:index])
            decides = ("TOP" in words[:index] and not several) or {"OFFSET", "FOR"} & set(words[index:])
            return None if decides else outer[index]
    return None


def _near(query: str, token: _Token) -> str:
    return repr(query[token.start : token.start + 40])


def _tokens(query: str) -> Iterator[_Token]:
    """What the query is made of; words in capitals, and comments as spaces."""
    place = depth = 0
    while place < len(query):
        found = _TOKEN.match(query, place)
        assert found is not None
        kind, start, end = str(found.lastgroup), place, found.end()
        if kind == "comment":
            kind, end = "space", _comment_end(query, place)
        text = found.group().upper() if kind == "word" else found.group()
        if kind == "mark" and text in "'\"[":
            raise SpecError(f"source: a quote in the query is never closed: {query[start : start + 40]!r}")
        depth -= text == ")" and kind == "mark"
        yield _Token(kind, text, start, end, depth)
        depth += text == "(" and kind == "mark"
        place = end


def _comment_end(query: str, start: int) -> int:
    """Where a comment ends; T-SQL nests them."""
    depth = 0
    for found in _COMMENT.finditer(query, start):
        depth += 1 if found.group() == "/*" else -1
        if depth == 0:
            return found.end()
    raise SpecError(f"source: a comment in the query is never closed: {query[start : start + 40]!r}")
