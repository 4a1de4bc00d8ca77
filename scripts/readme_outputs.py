"""The outputs in README.md, written anew from a rehearsal: what `make readme` runs, and `.ci/run` with --check."""

import difflib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(?P<start><!-- output: (?P<task>[a-z-]+) -->\n```text\n).*?(?P<end>```\n)", re.DOTALL)

# What differs from run to run, and what stands for it
SAME: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"\b(vpc|subnet|nat|sg|sgr|i|eni|fs|fsmt|ami)-[0-9a-f]{8,17}\b", r"\1-0123456789abcdef0"),
    (r"\b10\.0\.\d+\.\d+\b(?!/)", "10.0.0.10"),
    (r"ip-10-\d+-\d+-\d+", "ip-10-0-0-10"),
    (r"203\.0\.113\.(?!7\b)\d+", "203.0.113.10"),
    (r"/\S*/sandbox-home-[^/]*/", "~/"),
    (r"/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+\b", "/01234567-89ab-cdef-0123-456789abcdef"),
    (r"-key-[A-Za-z]{6}\b", "-key-AbCdEf"),
    (
        r"_ubuntu-[0-9a-f]{12}\.sh",
        "_ubuntu-0123456789ab.sh",
    ),  # the README does not change with each word of a script
    (r"(?m)^(PASS +Node\.js: ).*", r"\1/usr/bin/node"),
    (r"\b20\d{10}(\d\d)?\b", lambda match: "20261124000000"[: len(match[0])]),
    (r"parallelcluster-[0-9a-f]{16}-v1", "parallelcluster-0123456789abcdef-v1"),
    (
        r"(?m)^ +\d+:\d\d  (CREATE|UPDATE|DELETE)_IN_PROGRESS\b.*\n",
        "",
    ),  # how many of these lines there are depends on the moment
    (r"(?m)^( +)\d+:\d\d  ", r"\g<1>0:01  "),
    (r"(?m)^Status: .*\n?", ""),
    (
        r"(?m)^(1\. .*\n2\. .*\n)(?:\d+\. .*\n){10,}(\d+\. .*\n)",
        r"\1...\n\2",
    ),  # a list of all regions tells nobody anything
    (r"(?m) +$", ""),
]


def main(arguments: list[str]) -> int:
    """Write the outputs, or with --check only compare them.

    Returns:
        0 when the README is, or was, as the rehearsal has it.
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
    before = README.read_text()
    after = with_outputs(before, transcript)
    if "--check" not in arguments:
        README.write_text(after)
    elif after != before:
        print(
            "README.md shows other outputs than this rehearsal: run `make readme`, and look at what changed."
        )
        print(
            *difflib.unified_diff(
                before.splitlines(), after.splitlines(), "README.md", "rehearsal", lineterm=""
            ),
            sep="\n",
        )
        return 1
    return 0


def with_outputs(readme: str, transcript: str) -> str:
    """Give the README with the outputs of a rehearsal."""
    outputs = dict(told(transcript))
    return BLOCK.sub(lambda block: f"{block['start']}{outputs[block['task']]}{block['end']}", readme)


def told(transcript: str) -> list[tuple[str, str]]:
    """Give each task of a rehearsal, and what it printed, as it would be in every run."""
    transcript = transcript.split("\nstep  ")[0]
    steps = re.split(r"(?m)^=== invoke ", transcript)[1:]
    found = []
    for step in steps:
        command, _, output = step.partition("\n")
        for pattern, replacement in SAME:
            output = re.sub(pattern, replacement, output)
        found.append((command.split()[0], f"$ invoke {command}\n{output.strip()}\n"))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
