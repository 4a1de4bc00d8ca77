"""Regenerate the task outputs in README.md and docs/ from a rehearsal.

`make readme` runs this. `.ci/run` runs it with --check.

A comment precedes each output. `<!-- output: status -->` marks the whole output of `invoke status`.
`<!-- output: status, head 5, tail 4 -->` marks its first 5 and last 4 lines, with `[...]` between them.
"""

import difflib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?P<start><!-- output: (?P<task>[a-z-]+)(?:, head (?P<head>[1-9]\d*), tail (?P<tail>[1-9]\d*))? -->\n"
    r"```text\n).*?(?P<end>```\n)",
    re.DOTALL,
)

# Patterns of values that differ from run to run, and their replacements
REPLACEMENTS: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"\b(vpc|subnet|nat|sg|sgr|i|eni|fs|fsmt|ami)-[0-9a-f]{8,17}\b", r"\1-0123456789abcdef0"),
    (r"\b10\.0\.\d+\.\d+\b(?!/)", "10.0.0.10"),
    (r"ip-10-\d+-\d+-\d+", "ip-10-0-0-10"),
    (r"203\.0\.113\.(?!7\b)\d+", "203.0.113.10"),
    (r"/\S*/sandbox-home-[^/]*/", "~/"),
    (r"/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+\b", "/01234567-89ab-cdef-0123-456789abcdef"),
    (r"-key-[A-Za-z]{6}\b", "-key-AbCdEf"),
    (r"_ubuntu-[0-9a-f]{12}\.sh", "_ubuntu-0123456789ab.sh"),  # a hash of the script
    (r"(?m)^(PASS +Node\.js: ).*", r"\1/usr/bin/node"),
    (r"\b20\d{10}(\d\d)?\b", lambda match: "20261124000000"[: len(match[0])]),
    (r"parallelcluster-[0-9a-f]{16}-v1", "parallelcluster-0123456789abcdef-v1"),
    (r"(?m)^ +\d+:\d\d  (CREATE|UPDATE|DELETE)_IN_PROGRESS\b.*\n", ""),  # their number depends on timing
    (r"(?m)^( +)\d+:\d\d  ", r"\g<1>0:01  "),
    (r"(?m)^Status: .*\n?", ""),
    (r"(?m)^(1\. .*\n2\. .*\n)(?:\d+\. .*\n){10,}(\d+\. .*\n)", r"\1...\n\2"),  # shorten the list of regions
    (r"(?m) +$", ""),
]


def main(arguments: list[str]) -> int:
    """Run a rehearsal and write its outputs, or with --check compare them.

    Returns:
        0 if the documents match the rehearsal, or were updated to match.
    """
    transcript = ""
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.rehearsal"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as rehearsal:
        for line in rehearsal.stdout or []:
            print(line, end="", flush=True)
            transcript += line
    if rehearsal.returncode:
        return rehearsal.returncode
    outdated = []
    for document in DOCUMENTS:
        name, before = str(document.relative_to(ROOT)), document.read_text()
        after = replace_outputs(before, transcript)
        if after == before:
            continue
        if "--check" not in arguments:
            document.write_text(after)
            continue
        outdated.append(name)
        print(
            *difflib.unified_diff(before.splitlines(), after.splitlines(), name, "rehearsal", lineterm=""),
            sep="\n",
        )
    if outdated:
        print(f"The outputs in {', '.join(outdated)} are outdated. Run `make readme` and review the changes.")
    return 1 if outdated else 0


def replace_outputs(document: str, transcript: str) -> str:
    """Return the document with the outputs of a rehearsal."""
    outputs = dict(parse_outputs(transcript))

    def render(block: re.Match[str]) -> str:
        lines = outputs[block["task"]].splitlines(keepends=True)
        if block["head"]:
            lines = shorten(lines, int(block["head"]), int(block["tail"]))
        return f"{block['start']}{''.join(lines)}{block['end']}"

    return BLOCK.sub(render, document)


def shorten(lines: list[str], head: int, tail: int) -> list[str]:
    """Return the first and the last lines, with `[...]` between them."""
    if len(lines) <= head + tail:
        return lines
    return [*lines[:head], "[...]\n", *lines[-tail:]]


def parse_outputs(transcript: str) -> list[tuple[str, str]]:
    """Return each task of a rehearsal and its output, with values that differ from run to run replaced."""
    transcript = transcript.split("\nstep  ")[0]
    steps = re.split(r"(?m)^=== invoke ", transcript)[1:]
    outputs = []
    for step in steps:
        command, _, output = step.partition("\n")
        for pattern, replacement in REPLACEMENTS:
            output = re.sub(pattern, replacement, output)
        outputs.append((command.split()[0], f"$ invoke {command}\n{output.strip()}\n"))
    return outputs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
