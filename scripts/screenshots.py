"""The pictures in screenshots/: the page of `invoke picture` after the path in the emulated AWS, as a real Chromium shows it.

`make screenshots` runs this. Playwright drives the Chromium of the system: https://playwright.dev/python/
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from playwright.sync_api import Browser, sync_playwright

from sandbox import emulated_aws, rehearsal
from slurm_cluster.project import Project
from slurm_cluster.views import picture

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "screenshots"
# file and the part of the page that is on it
PICTURES = {
    "network": "svg.wide",
    "security_group_modification": "#security-group",
    "ec2_network_settings": "#network-settings",
    "ec2_filesystem_settings": "#file-system-settings",
}
UP_TO = "create-instance"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
NEEDED = "Chromium is not installed: `sudo apt-get install chromium fonts-open-sans fonts-dejavu-core`, then run this again."
# what differs from run to run: ids, the ends of names that CloudFormation gives, times, and private addresses
DIFFERS = re.compile(
    r"(?P<kind>(?:vpc|subnet|sgr?|i|fs|fsmt|eni|ami)-)[0-9a-f]{8,17}\b|(?<=Group-)[0-9A-Z]{12}\b|\b20\d{12}\b|\b10\.0\.\d+\.(?!0/)\d+\b"
)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a Chromium, whose profile is gone afterwards.

    Raises:
        SystemExit: there is none.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise SystemExit(NEEDED)
    with sync_playwright() as playwright:  # root may not have Chromium's sandbox
        flags = ["--font-render-hinting=none"]
        yield playwright.chromium.launch(
            executable_path=program, args=flags, chromium_sandbox=os.geteuid() != 0
        )


@contextmanager
def walked() -> Iterator[Project]:
    """Walk the path in an emulated AWS until the UQLE instance runs, and give what stands while the context lasts.

    Raises:
        SystemExit: a step failed.
    """
    with emulated_aws(), tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        for step in rehearsal.STEPS:
            command = [*rehearsal.INVOKE, *step.task.split()]
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            if done.returncode:
                raise SystemExit(f"invoke {step.task} failed:\n{done.stdout}{done.stderr}")
            if step.task == UP_TO:
                break
        yield Project(yaml.safe_load((ROOT / "invoke.yaml").read_text()))


def normalised(page: str) -> str:
    """Give the page with the ids, times and addresses that it would have in every run; what was different stays different."""
    seen: dict[str, str] = {}

    def same(found: re.Match[str]) -> str:
        if found[0] not in seen:
            digest = hashlib.sha256(f"{found['kind']}{len(seen)}".encode()).hexdigest()
            if found["kind"]:
                seen[found[0]] = f"{found['kind']}{digest[:17]}"
            elif "." in found[0]:
                seen[found[0]] = f"{found[0].rpartition('.')[0]}.{10 + len(seen) % 200}"
            else:
                seen[found[0]] = "20261124000000" if found[0].isdigit() else digest[:12].upper()
        return seen[found[0]]

    return DIFFERS.sub(same, page)


def main() -> int:
    """Make the pictures."""
    with browser() as chromium, walked() as project:
        page = chromium.new_page(viewport={"width": 1000, "height": 900}, device_scale_factor=2)
        page.set_content(normalised(picture.render_page(project)))
        for name, part in PICTURES.items():
            page.locator(part).screenshot(path=FOLDER / f"{name}.png")
            print(f"Wrote screenshots/{name}.png.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
