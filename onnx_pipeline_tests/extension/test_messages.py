"""The messages that `docs/external-language.md` explains are messages of the extension."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_explained_message_is_one_that_the_extension_can_give() -> None:
    page = (ROOT / "docs" / "external-language.md").read_text(encoding="utf-8")
    section = page.partition("| the language says |")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| `(.+?)` \|", section, flags=re.MULTILINE)
    assert len(messages) > 8
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "extension" / "src").rglob("*.cpp"))
    )
    # Pieces of text that the compiler joins, as one.
    code = re.sub(r'"\s*\n\s*"', "", sources)
    unknown = [part for message in messages for part in message.split("…") if part.strip() and part.strip() not in code]
    assert not unknown, f"the extension says none of {unknown}"
