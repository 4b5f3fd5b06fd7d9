"""The table of `docs/models.md` and the extension's header are the rules of the code."""

import re
import runpy
from pathlib import Path

from onnx_pipeline.base.rules import FILLS, Family

ROOT = Path(__file__).parents[2]


def test_the_page_says_what_fills_what_and_what_becomes_of_a_value() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    section = page.partition("## What a value becomes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| ([\w, ]+) \| (.+) \|$", section, flags=re.MULTILINE)
    said = {
        (Family(column), Family(tensor)): becomes
        for column, tensors, becomes in rows
        for tensor in tensors.split(", ")
        if column in {family.value for family in Family}
    }
    assert said == {pair: rule.value for pair, rule in FILLS.items()}


def test_the_extensions_header_is_made_of_the_same_rules() -> None:
    made = runpy.run_path(str(ROOT / "extension" / "column_types.py"))
    assert made["HEADER"].read_text(encoding="utf-8") == made["header"](), "run extension/column_types.py"


def test_the_extensions_trial_model_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(ROOT / "extension" / "self_test.py"))
    assert made["HEADER"].read_text(encoding="utf-8") == made["header"](), "run extension/self_test.py"


def test_the_extensions_letters_are_those_of_unicode() -> None:
    made = runpy.run_path(str(ROOT / "extension" / "letter_cases.py"))
    assert made["HEADER"].read_text(encoding="utf-8") == made["header"](), "run extension/letter_cases.py"
    spread = {
        point: point + shift
        for first, last, step, shift in made["runs"](made["foldings"]())
        for point in range(first, last + 1, step)
    }
    assert spread == made["foldings"]() and spread[ord("Ä")] == ord("ä") and ord("ß") not in spread
