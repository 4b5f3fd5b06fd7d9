"""The code blocks of the documentation, and how each language is run.

A block runs, or an HTML comment right before it says why not: `<!-- not run: needs a browser -->`. Other comments that
a block may have: `<!-- file: path -->`, its text is written there first; `<!-- exits with 1 -->`, its last command fails;
`<!-- same as: path -->`, that YAML file says the same; `<!-- numbers: vary with the machine -->`, numbers
are not compared.
"""

import doctest
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from markdown_it import MarkdownIt

from onnx_pipeline_tests import needs

_COMMENT = re.compile(r"<!--\s*(not run|file|exits with|numbers|same as):?\s+(.+?)\s*-->")
_LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_NUMBER = re.compile(r"\d[\d,.]*")
_OF_THE_MACHINE = re.compile(r"^.*(Error in cpuinfo: |cpuinfo_initialize failed|cpuid_info\.cc:).*\n", re.MULTILINE)
"""What ONNX Runtime says of a processor that it cannot look at, as in a root file system without /sys."""
_RULE = re.compile(r"[\u2500-\u257f]+")
_COMMAND_SECONDS = 240

_LEAST_SPEC = {"onnx": "model.onnx", "source": "my_table", "key": ["id"], "target": "my_predictions"}
"""What a YAML block that shows only some attributes is completed with."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    comments: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'})"


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a Markdown file, in order."""
    found = []
    comments: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        if token.type == "html_block":
            comments |= dict(_COMMENT.findall(token.content))
        elif token.type in {"fence", "code_block"}:
            line = token.map[0] + 1 if token.map else 0
            found.append(Block(path.name, line, token.info.strip(), token.content, comments))
            comments = {}
        elif token.type in {"paragraph_open", "heading_open"}:
            comments = {}
    return found


@dataclass
class Runner:
    """Runs the blocks of one page in a copy of the project, one after the other."""

    project: Path
    variables: dict[str, Any] = field(default_factory=dict)

    def run(self, block: Block) -> None:
        """Run a block, or fail with the reason why it cannot be."""
        if "file" in block.comments:
            file = self.project / block.comments["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        if "not run" in block.comments:
            return
        run = getattr(self, f"_{block.language}", None)
        assert run is not None, (
            f"{block}: nothing here runs such a block; give it another language, or say why it does not run: "
            "<!-- not run: the reason -->"
        )
        run(block)

    def _python(self, block: Block) -> None:
        name = str(block)
        if not block.text.lstrip().startswith(">>>"):
            exec(compile(block.text, name, "exec"), self.variables)
            return
        examples = doctest.DocTestParser().get_doctest(block.text, self.variables, name, name, block.line)
        complaints: list[str] = []
        examples.globs = self.variables
        doctest.DocTestRunner(optionflags=_LENIENT).run(examples, out=complaints.append, clear_globs=False)
        assert not complaints, "".join(complaints)

    def _yaml(self, block: Block) -> None:
        from dagster.components.resolved.context import ResolutionContext

        from onnx_pipeline import OnnxScoring

        content = yaml.load(block.text, yaml.BaseLoader)  # builds nothing but text
        if "same as" in block.comments:
            file = self.project / block.comments["same as"]
            assert yaml.load(file.read_text(), yaml.BaseLoader) == content, f"{block}: {file} says something else"
        attributes = yaml.safe_load(block.text)
        attributes = attributes["attributes"] if "type" in attributes else _LEAST_SPEC | attributes
        # A date is text to Dagster.
        model = OnnxScoring.model().model_validate(json.loads(json.dumps(attributes, default=str)))
        OnnxScoring.resolve_from_model(ResolutionContext.default(), model)

    def _sql(self, block: Block) -> None:
        import duckdb

        with duckdb.connect(str(self.project / "data" / "pool.duckdb")) as pool:
            for statement in filter(str.strip, block.text.split(";")):
                pool.execute(statement).fetchall()

    def _tsql(self, block: Block) -> None:
        """What only a server would run is at least T-SQL."""
        import sqlfluff

        for statement in filter(str.strip, block.text.split(";")):
            try:
                sqlfluff.parse(f"{statement.strip()};\n", dialect="tsql")
            except sqlfluff.api.APIParsingError as error:  # noqa: PERF203 - parsing takes longer
                raise AssertionError(f"{block}: {statement.strip()}\n{error}") from error

    def _url(self, block: Block) -> None:
        """Each line is a URL that a pool reads."""
        from onnx_pipeline.pools import open_pool

        secret = {"ONNX_PIPELINE_SQL_USER": "client", "ONNX_PIPELINE_SQL_PASSWORD": "secret"}
        for line in block.text.splitlines():
            if not line.startswith("duckdb:"):
                for driver in ("pyodbc", "mssql_python"):
                    needs.driver(driver)
            with patch.dict(os.environ, secret if "ServicePrincipal" in line else {}):
                open_pool(line)

    def _console(self, block: Block) -> None:
        commands = _commands(block)
        for number, (command, expected) in enumerate(commands, start=1):
            wanted = int(block.comments.get("exits with", 0)) if number == len(commands) else 0
            done = self._shell(command)
            assert done.returncode == wanted, f"{block}: {command} exited with {done.returncode}:\n{done.stdout}"
            # Lines of tables are decoration, and as long as what stands between them.
            texts = [_RULE.sub(" ", _OF_THE_MACHINE.sub("", text)) for text in (expected, done.stdout)]
            if "numbers" in block.comments:
                texts = [_NUMBER.sub("0", text) for text in texts]
            same = doctest.OutputChecker().check_output(*texts, _LENIENT)
            assert same or not expected, f"{block}: {command} printed\n{done.stdout}\nand the page says\n{expected}"

    def _shell(self, command: str) -> "subprocess.CompletedProcess[str]":
        scripts = Path(sys.executable).parent
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ONNX_PIPELINE_")},
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.project),
            "PYTHONWARNINGS": "ignore",
            "DAGSTER_HOME": str(self.project),
            # The days that the pages show.
            "ONNX_PIPELINE_SAMPLE_START": "2026-01-01",
            "COLUMNS": "120",
        }
        return subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=self.project, env=environment, text=True, timeout=_COMMAND_SECONDS, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _commands(block: Block) -> list[tuple[str, str]]:
    """Each command of a console block, with the output that the page shows for it; empty where it shows none."""
    commands: list[tuple[str, str]] = []
    for line in block.text.splitlines():
        command, shown = commands[-1] if commands else ("", "")
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        elif line.startswith("> ") and commands and not shown:
            commands[-1] = (f"{command}\n{line[2:]}", shown)
        else:
            assert commands, f"{block}: the first line of a console block is a command, `$ ...`"
            commands[-1] = (command, f"{shown}{line}\n")
    return commands
