"""README.md and docs/ document what exists, and only that."""

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


def test_every_task_is_in_the_readme_and_every_task_in_the_documents_exists(tasks):
    assert find_tasks(README) == tasks.keys()
    for path, document in DOCS.items():
        assert find_tasks(document) <= tasks.keys(), path


def test_every_setting_is_in_the_table_of_the_configuration():
    documented = re.findall(r"^\| `([a-z_.]+)` \|", CONFIGURATION, re.MULTILINE)
    assert [name.replace(".", "_") for name in documented] == list(settings.SETTING_NAMES)


def test_every_task_says_what_it_does_in_a_line_and_explains_each_flag_with_its_default(tasks):
    for name, task in tasks.items():
        assert task.__doc__.splitlines()[0].endswith(".")
        for argument in task.get_arguments():
            assert argument.help, f"{name} --{argument.name}"
            assert "(default: " in argument.help


def test_every_task_says_what_it_changes_and_costs_how_to_undo_it_and_gives_an_example_that_parses(tasks):
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


def test_every_parameter_is_in_the_readmes_table_in_the_examples_order():
    assert re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE) == list(parameters.RULES)


def test_every_status_of_the_boot_scripts_is_in_the_table_of_the_troubleshooting():
    listed = set(re.findall(r"^\| (\d\d) \|", TROUBLESHOOTING, re.MULTILINE))
    scripts = [ROOT / "bootstrap" / f"on_node_{name}_ubuntu.sh" for name in ("start", "configured")]
    used = {status for script in scripts for status in re.findall(r"\bdie (\d+) ", script.read_text())}
    assert used == listed


def test_every_step_that_the_rehearsal_walks_shows_its_output():
    shown = [block["task"] for block in readme_outputs.BLOCK.finditer(README)]
    walked = [step.task.split()[0] for step in [*rehearsal.STEPS, rehearsal.TEARDOWN]]
    assert set(shown) == set(walked)
    assert all(f"$ invoke {task}" in README for task in shown)
    for path, document in DOCS.items():
        blocks = list(readme_outputs.BLOCK.finditer(document))
        assert not blocks or path in readme_outputs.DOCUMENTS
        assert {block["task"] for block in blocks} <= set(walked), path
        assert len(re.findall("^<!-- output: .*-->$", document, re.MULTILINE)) == len(blocks), path


def test_each_symptom_is_shown_by_a_test_that_exists_or_has_a_source():
    assert TROUBLESHOOTING.startswith("# When something goes wrong\n")
    symptoms = re.split(r"(?m)^(?=## )", TROUBLESHOOTING)[1:]
    assert len(symptoms) >= 12
    for symptom in symptoms:
        tests = re.findall(r"<!-- (tests/\w+\.py)::(\w+) -->", symptom)
        assert tests or "](https://" in symptom, symptom
        assert all(f"\ndef {name}(" in (ROOT / file).read_text() for file, name in tests), symptom


def find_anchors(document):
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", document, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_files_and_sections_that_the_documents_link_to_exist():
    for path, document in DOCS.items():
        for file, anchor in re.findall(r"\]\((?!https?:)([^)# ]*)#?([^) ]*)", document):
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), f"{path.name}: {file}"
            assert not anchor or anchor in find_anchors(DOCS[target]), f"{path.name}: {file}#{anchor}"


def test_every_document_is_linked_in_the_readme():
    linked = {(ROOT / file).resolve() for file in re.findall(r"\]\((?!https?:)([^)# ]+)", README)}
    assert DOCS.keys() - {ROOT / "README.md"} <= linked


def test_every_command_that_the_readme_gives_by_hand_is_in_the_procedure():
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


def test_ids_and_addresses_of_one_rehearsal_are_not_in_the_outputs():
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


def test_no_line_of_the_repository_names_an_absolute_path_or_an_index():
    for name in ("pyproject.toml", "requirements.lock", "Makefile", ".ci/run"):
        text = Path(ROOT / name).read_text()
        assert not re.search(
            r"https?://(?!nodejs\.org)|file://|(?<![\w.*$)])/(root|home|work|opt|tmp)/", text
        ), name


def test_an_output_that_a_task_no_longer_prints_is_stale():
    fresh, stale = (
        f"<!-- output: check -->\n```text\n$ invoke check\nPASS    name: {name}\n```\n" for name in "ab"
    )
    transcript = "=== invoke check\nPASS    name: a\n\nstep   time\n"
    assert readme_outputs.replace_outputs(fresh, transcript) == fresh
    assert readme_outputs.replace_outputs(stale, transcript) == fresh


def test_a_block_with_a_head_and_a_tail_shows_the_first_and_the_last_lines():
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
