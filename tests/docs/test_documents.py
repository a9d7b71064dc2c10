"""Every block of code, command, output and link in the documents is true."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import typer
import typer.main
import yaml

import prometheus
from ekiben import cli, errors, spec
from ekiben.spec import parts, service

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = {
    str(path.relative_to(ROOT)): path
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md")))
}
TUTORIAL = "docs/tutorial.md"

# ```python            runs, with the other blocks of its page, in order
# ```python train.py   is written to that file, beside the page's program
# ```text              after a block that runs, or one line that ends in a colon: what it printed; "…" is left out
FENCE = re.compile(r"^```(?P<language>\w*)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)(?P<path>[^)#\s]*)(?:#(?P<heading>[^)\s]*))?\)")


@dataclass(frozen=True)
class Block:
    language: str
    file: str | None
    text: str
    line: int
    follows_code: bool


def blocks(page: str, *languages: str) -> list[Block]:
    text = DOCUMENTS[page].read_text(encoding="utf-8")
    found, end, ran = [], 0, False
    for match in FENCE.finditer(text):
        between = text[end : match.start()].strip()
        follows = ran and (not between or (between.endswith(":") and "\n" not in between))
        first_line = text.count("\n", 0, match.start("text")) + 1
        found.append(Block(match["language"], match["file"], match["text"], first_line, follows))
        end, ran = match.end(), match["language"] == "python" and match["file"] is None
    return [block for block in found if block.language in languages]


def program(page: str) -> str:
    """Give the page's blocks as one program whose line numbers are the page's."""
    lines = [""] * len(DOCUMENTS[page].read_text(encoding="utf-8").splitlines())
    for block in blocks(page, "python"):
        code = block.text.splitlines()
        if block.file is not None:
            code = [f"import pathlib; pathlib.Path({block.file!r}).write_text({block.text!r})"]
        lines[block.line - 1 : block.line - 1 + len(code)] = code
    return "\n".join(lines) + "\n"


def run(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the page's blocks in a process of their own, in a folder whose stores nobody else uses."""
    script = folder / f"{Path(page).stem}_page.py"
    script.write_text(program(page), encoding="utf-8")
    own = {name: folder / f".{name.lower()}" for name in ("BENTOML_HOME", "PROMETHEUS_MULTIPROC_DIR", "TMPDIR")}
    for path in own.values():
        path.mkdir(exist_ok=True)
    environment = os.environ | {name: str(path) for name, path in own.items()}
    environment |= {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "mlartifacts"),
    }
    return subprocess.run([sys.executable, script.name], cwd=folder, env=environment, capture_output=True, text=True)


def runs(page: str) -> bool:
    return any(block.file is None for block in blocks(page, "python"))


def begins_after_the_tutorial(page: str) -> bool:
    return (
        re.search(r"begins? in the folder of the\s+\[tutorial\]", DOCUMENTS[page].read_text(encoding="utf-8"))
        is not None
    )


ALONE = [page for page in DOCUMENTS if runs(page) and page != TUTORIAL and not begins_after_the_tutorial(page)]
AFTER_THE_TUTORIAL = [page for page in DOCUMENTS if runs(page) and page != TUTORIAL and begins_after_the_tutorial(page)]


def says_what_it_printed(page: str, printed: str) -> None:
    """Hold each output on a page against what its blocks printed; digits, digests and the width of gaps may differ."""
    lines = {plain(line) for line in printed.splitlines()}
    shown = [line for block in blocks(page, "text") if block.follows_code for line in block.text.splitlines()]
    untrue = [line for line in shown if line.strip() and "…" not in line and plain(line) not in lines]
    assert not untrue, "\n".join(
        ["The page shows what its blocks did not print:", *untrue, "", "They printed:", printed]
    )


def plain(line: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\b[0-9a-f]{12,64}\b|[+-]?\d[\d.,e-]*", "0", line)).strip()


# ── what runs ──


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("page", ALONE)
def test_a_page_runs_alone(page, tmp_path):
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr
    says_what_it_printed(page, done.stdout)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """Go through the tutorial once; the how-to pages begin in its folder, one after the other."""
    folder = tmp_path_factory.mktemp("kitchen")
    return folder, run(TUTORIAL, folder)


shares_the_kitchen = pytest.mark.xdist_group("kitchen")


@shares_the_kitchen
@pytest.mark.e2e
@pytest.mark.slow
def test_the_tutorial_runs(kitchen):
    _, done = kitchen
    assert done.returncode == 0, done.stderr
    says_what_it_printed(TUTORIAL, done.stdout)


@shares_the_kitchen
@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("page", AFTER_THE_TUTORIAL)
def test_a_page_after_the_tutorial_runs(page, kitchen):
    folder, tutorial = kitchen
    assert tutorial.returncode == 0, "the tutorial failed, and this page begins where it ends"
    done = run(page, folder)
    assert done.returncode == 0, done.stderr
    says_what_it_printed(page, done.stdout)


# ── what is read ──


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_command_is_one_that_exists(page):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for block in blocks(page, "console"):
        for command in commands(block):
            program_name, *arguments = shlex.split(command, comments=True)
            if program_name == "ekiben":
                parse(arguments)
            if program_name == "make":
                assert arguments[0] in targets, command


def commands(block: Block) -> list[str]:
    joined = block.text.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def parse(arguments: list[str]) -> None:
    """Read the arguments as the command line does, and run nothing."""
    command = typer.main.get_command(cli.app)
    if arguments and arguments[0] in command.commands:
        command, arguments = command.commands[arguments[0]], arguments[1:]
    with suppress(typer.Exit):  # --help
        command.make_context("ekiben", list(arguments))


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_link_leads_somewhere(page):
    text = FENCE.sub("", DOCUMENTS[page].read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        target = (DOCUMENTS[page].parent / link["path"]).resolve() if link["path"] else DOCUMENTS[page]
        assert target.exists(), f"{page} links to {link['path']}, which is not there"
        if link["heading"]:
            assert link["heading"] in headings(target), f"{page} links to #{link['heading']} of {target.name}"


def headings(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", DOCUMENTS)
def test_data_on_a_page_can_be_read(page):
    for block in blocks(page, "json"):
        json.loads(block.text)
    for block in blocks(page, "toml"):
        if "format" in tomllib.loads(block.text):
            spec.loads(block.text, source=f"{page}, line {block.line}")


def test_every_page_is_in_the_index():
    linked = {
        (DOCS / link["path"]).resolve() for link in LINK.finditer((DOCS / "index.md").read_text(encoding="utf-8"))
    }
    missing = [
        page
        for page, path in DOCUMENTS.items()
        if DOCS in path.parents and path.name != "index.md" and path not in linked
    ]
    assert missing == []


# ── the reference is whole ──


def reference(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def test_the_command_line_page_is_the_help():
    shown = subprocess.run([sys.executable, DOCS / "reference" / "cli.py", "--print"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert reference("cli.md") == shown.stdout, "Run: python docs/reference/cli.py"


def test_the_spec_page_names_every_key_and_its_default():
    kinds = {"budgets": spec.Budgets, "limits": spec.Limits, "log": spec.Log, "explain": spec.Explain}
    defaults = {f"{table}.{each.name}": each.default for table, kind in kinds.items() for each in fields(kind)}
    defaults |= {
        name: spec.ServiceSpec.__dataclass_fields__[name].default for name in ("workers", "threads", "timeout_s")
    }
    numbers = {name: float(value) for name, value in defaults.items() if type(value) in (int, float)}
    rows = dict(re.findall(r"^\| `([\w.]+)` \|[^|]*\|[^|]*\| ([^|]*) \|$", reference("spec.md"), re.MULTILINE))
    tables = {name: getattr(parts, name.upper()) for name in parts.TABLES} | {"route": service._ROUTE}
    keys = {f"{table}.{key}" for table, known in tables.items() for key in known}
    assert set(rows) == keys | (set(service._SPEC) - set(tables))
    assert {key: float(rows[key]) for key in numbers} == numbers


def test_the_errors_page_names_every_error():
    known = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert set(re.findall(r"^\| `(\w+)` \|", reference("errors.md"), re.MULTILINE)) == known


def test_the_http_page_names_every_refusal():
    shown = set(re.findall(r"^\| `(\w+)` \| \d{3} \|", reference("http.md"), re.MULTILINE))
    assert shown == {"invalid_request"}.union(*map(refusal_codes, sorted((ROOT / "sdk" / "ekiben").rglob("*.py"))))


def refusal_codes(module: Path) -> set[str]:
    """Collect the codes that a module refuses with: the second argument of `refuse(…)` and `Refusal(…)`."""
    calls = [node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("refuse", "Refusal")]
    codes = [call.args[1] for call in named if len(call.args) > 1]
    return {code.value for code in codes if isinstance(code, ast.Constant)}


LOGGED = {f"logger.{level}" for level in ("info", "warning", "error")}


def operated(pattern):
    return set(re.findall(pattern, (DOCS / "how-to" / "operate.md").read_text(encoding="utf-8")))


def counters():
    """Collect the names of what ekiben counts."""
    source = (ROOT / "sdk" / "ekiben" / "metering.py").read_text(encoding="utf-8")
    return set(re.findall(r'"(ekiben_\w+)", "', source))


def test_the_runbook_knows_every_metric_and_every_refusal():
    table = (DOCS / "how-to" / "operate.md").read_text(encoding="utf-8").split("## What it refuses")[1].split("## ")[0]
    told = {
        code
        for line in table.splitlines()
        for code in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert told == set(re.findall(r"^\| `(\w+)` \| \d{3} \|", reference("http.md"), re.MULTILINE))
    assert counters() <= operated(r"`(ekiben_\w+)`")


def test_the_runbook_knows_every_line_that_ekiben_logs():
    page = (DOCS / "how-to" / "operate.md").read_text(encoding="utf-8")
    for module in sorted((ROOT / "sdk" / "ekiben").rglob("*.py")):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            function = call.func if isinstance(call, ast.Call) else None
            if isinstance(function, ast.Attribute) and ast.unparse(function) in LOGGED:
                pieces = [piece.strip(" :;,()") for piece in re.split(r"%\w|;|\):", call.args[0].value)]
                assert max(pieces, key=len) in page, call.args[0].value


def test_the_alerts_ask_for_what_is_counted_and_refused():
    text = (DOCS / "operations" / "alerts.yml").read_text(encoding="utf-8")
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        asked = {name.removesuffix("_bucket") for name in re.findall(r"ekiben_\w+", rule["expr"])}
        assert asked <= counters()
        codes = {code for group in re.findall(r'code=~?"([^"]+)"', rule["expr"]) for code in group.split("|")}
        assert codes <= set(re.findall(r"^\| `(\w+)` \| \d{3} \|", reference("http.md"), re.MULTILINE))


def test_prometheus_takes_the_alerts():
    command = [prometheus.program("promtool"), "check", "rules", DOCS / "operations" / "alerts.yml"]
    subprocess.run(command, check=True, capture_output=True)


def test_the_dashboard_is_the_one_that_its_program_writes_and_asks_for_what_is_counted():
    program, kept = DOCS / "operations" / "dashboard.py", DOCS / "operations" / "dashboard.json"
    shown = subprocess.run([sys.executable, program, "--print"], capture_output=True, text=True, check=True)
    assert kept.read_text(encoding="utf-8") == shown.stdout, "Run: python docs/operations/dashboard.py"
    panels = json.loads(shown.stdout)["panels"]
    asked = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"ekiben_\w+", target["expr"])
    }
    assert {name.removesuffix("_bucket") for name in asked} == counters()
