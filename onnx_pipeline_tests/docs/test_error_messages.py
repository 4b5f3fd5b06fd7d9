"""The messages that `docs/reference.md` explains are messages of the code."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def strings_of_the_code() -> str:
    """Every piece of text in the package's source, one a line."""
    pieces = []
    for file in sorted((ROOT / "onnx_pipeline").rglob("*.py")):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        pieces += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(pieces)


def test_each_explained_message_is_one_that_the_code_can_give() -> None:
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    section = page.partition("## Error messages")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| `(.+?)` \|", section, flags=re.MULTILINE)
    assert len(messages) > 10
    code = strings_of_the_code()
    unknown = [
        message for message in messages for part in message.split("…") if part.strip() and part.strip() not in code
    ]
    assert not unknown, f"no text of the code holds {unknown}"
