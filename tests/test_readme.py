"""README.md and docs/ document everything that exists, and nothing else."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
from invoke import Collection
from invoke.loader import FilesystemLoader
from invoke.parser import Parser, ParserContext

from sandbox import rehearsal
from scripts import readme_outputs
from slurm_cluster.config import parameters, settings
from tests.support import ROOT

README = (ROOT / "README.md").read_text()
DOCS = {
    path: path.read_text() for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}
BY_HAND, CONFIGURATION, TROUBLESHOOTING = (
    DOCS[ROOT / "docs" / f"{name}.md"] for name in ("by-hand", "configuration", "troubleshooting")
)


@pytest.fixture(scope="module")
def tasks():
    module, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
    return {name.replace("_", "-"): task for name, task in vars(module).items() if hasattr(task, "pre")}


def find_tasks(document):
    return set(re.findall(r"invoke (?:-R |-r \S+ )?([a-z][a-z-]+)", document)) - {"list", "help", "TASK"}


def test_readme_names_every_task(tasks):
    assert find_tasks(README) == tasks.keys()
    for path, document in DOCS.items():
        assert find_tasks(document) <= tasks.keys(), path


def test_configuration_lists_every_setting():
    documented = re.findall(r"^\| `([a-z_.]+)` \|", CONFIGURATION, re.MULTILINE)
    assert [name.replace(".", "_") for name in documented] == list(settings.SETTING_NAMES)


def test_every_flag_is_explained_with_its_default(tasks):
    for name, task in tasks.items():
        assert task.__doc__.splitlines()[0].endswith(".")
        for argument in task.get_arguments():
            assert argument.help, f"{name} --{argument.name}"
            assert "(default: " in argument.help


def test_every_task_says_changes_costs_undo_and_example(tasks):
    collection = Collection(*tasks.values())
    for name, task in tasks.items():
        first, blank, *rest = inspect.getdoc(task).splitlines()
        assert (first != "", blank) == (True, "")
        found = [re.fullmatch(r"(Changes|Costs|Undo|Example): +(\S.*)", line) for line in rest]
        assert [each and each[1] for each in found] == ["Changes", "Costs", "Undo", "Example"], name
        program, *arguments = shlex.split(found[3][2])
        assert program == "invoke"
        asked = Parser(contexts=collection.to_contexts(), initial=ParserContext()).parse_argv(arguments)
        assert name in [context.name for context in asked]
        for undo in re.findall(r"invoke ([a-z-]+)", found[2][2]):
            assert undo in tasks


def test_readme_lists_every_parameter_in_order():
    assert re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE) == list(parameters.RULES)


def test_troubleshooting_lists_every_boot_script_status():
    listed = set(re.findall(r"^\| (\d\d) \|", TROUBLESHOOTING, re.MULTILINE))
    scripts = [ROOT / "bootstrap" / f"on_node_{name}_ubuntu.sh" for name in ("start", "configured")]
    used = {status for script in scripts for status in re.findall(r"\bdie (\d+) ", script.read_text())}
    assert used == listed


def test_every_rehearsed_step_shows_its_output():
    shown = [block["task"] for block in readme_outputs.BLOCK.finditer(README)]
    walked = [step.task.split()[0] for step in [*rehearsal.STEPS, rehearsal.TEARDOWN]]
    assert set(shown) == set(walked)
    assert all(f"$ invoke {task}" in README for task in shown)
    for path, document in DOCS.items():
        blocks = list(readme_outputs.BLOCK.finditer(document))
        assert not blocks or path in readme_outputs.DOCUMENTS
        assert {block["task"] for block in blocks} <= set(walked), path
        assert len(re.findall("^<!-- output: .*-->$", document, re.MULTILINE)) == len(blocks), path


def test_each_symptom_has_a_test_or_a_source():
    assert TROUBLESHOOTING.startswith("# When something goes wrong\n")
    symptoms = re.split(r"(?m)^(?=## )", TROUBLESHOOTING)[1:]
    assert len(symptoms) >= 12
    for symptom in symptoms:
        tests = re.findall(r"<!-- (tests/[\w/]+\.py)::(\w+) -->", symptom)
        assert tests or "](https://" in symptom, symptom
        assert all(f"\ndef {name}(" in (ROOT / file).read_text() for file, name in tests), symptom


def find_anchors(document):
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", document, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_sections():
    for path, document in DOCS.items():
        for file, anchor in re.findall(r"\]\((?!https?:)([^)# ]*)#?([^) ]*)", document):
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), f"{path.name}: {file}"
            assert not anchor or anchor in find_anchors(DOCS[target]), f"{path.name}: {file}#{anchor}"


def test_readme_links_every_document():
    linked = {(ROOT / file).resolve() for file in re.findall(r"\]\((?!https?:)([^)# ]+)", README)}
    assert DOCS.keys() - {ROOT / "README.md"} <= linked


def test_procedure_contains_the_readmes_by_hand_commands():
    steps = re.findall(r"\*\*By hand:\*\*.*?(?=\n\n)", README, re.DOTALL)
    commands = [
        command
        for step in steps
        for command in re.findall(r"`((?:pcluster|chevron|cp|aws) -?\S+ .+?)`", step)
    ]
    assert len(steps) == 11  # the steps from the key pair to the handover, and SSH
    assert commands
    for command in commands:
        assert command in BY_HAND


def test_outputs_contain_no_ids_of_one_rehearsal():
    transcript = (
        "=== invoke status\nvpc-1111111111aaaaaaa in /tmp/sandbox-home-x/.ssh at 203.0.113.4, SSH from 203.0.113.7/32\n"
        "  0:00  CREATE_IN_PROGRESS  1 of 2 resources  A\n  0:07  CREATE_COMPLETE  2 of 2 resources  A\n\nstep   time\n"
    )
    assert readme_outputs.parse_outputs(transcript) == [
        (
            "status",
            "$ invoke status\nvpc-0123456789abcdef0 in ~/.ssh at 203.0.113.10, SSH from 203.0.113.7/32\n"
            "  0:01  CREATE_COMPLETE  2 of 2 resources  A\n",
        )
    ]


def test_repository_names_no_absolute_path_or_index():
    for name in ("pyproject.toml", "requirements.lock", "requirements-aws.lock", "Makefile", ".ci/run"):
        text = Path(ROOT / name).read_text()
        assert not re.search(
            r"https?://(?!nodejs\.org)|file://|(?<![\w.*$)])/(root|home|work|opt|tmp)/", text
        ), name


def test_stale_output_is_detected():
    fresh, stale = (
        f"<!-- output: check -->\n```text\n$ invoke check\nPASS    name: {name}\n```\n" for name in "ab"
    )
    transcript = "=== invoke check\nPASS    name: a\n\nstep   time\n"
    assert readme_outputs.replace_outputs(fresh, transcript) == fresh
    assert readme_outputs.replace_outputs(stale, transcript) == fresh


def test_shortened_output_shows_first_and_last_lines():
    whole, shortened, long_enough = (
        f"<!-- output: check{part} -->\n```text\n{output}```\n"
        for part, output in [
            ("", "$ invoke check\na\nb\nc\nd\n"),
            (", head 2, tail 1", "$ invoke check\na\n[...]\nd\n"),
            (", head 3, tail 2", "$ invoke check\na\nb\nc\nd\n"),
        ]
    )
    transcript = "=== invoke check\na\nb\nc\nd\n\nstep   time\n"
    fresh = f"{whole}\n{shortened}\n{long_enough}"
    assert readme_outputs.replace_outputs(fresh, transcript) == fresh
    stale = fresh.replace("d\n", "e\n").replace("b\n", "x\ny\n")
    assert readme_outputs.replace_outputs(stale, transcript) == fresh
