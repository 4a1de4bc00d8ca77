"""Take the screenshots in the README. They show parts of the page of `invoke picture` in Chromium.

`make screenshots` runs this. The page shows a cluster in the emulated AWS. Playwright controls the installed
Chromium: https://playwright.dev/python/
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
SCREENSHOTS = {  # the name of each file, and the CSS selector of the element that it shows
    "network": "svg.wide",
    "security_group_modification": "#security-group",
    "ec2_network_settings": "#network-settings",
    "ec2_filesystem_settings": "#file-system-settings",
}
LAST_TASK = "create-instance"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_MISSING = (
    "Chromium is not installed. Run `sudo apt-get install chromium fonts-open-sans fonts-dejavu-core`,"
    " then run this again."
)
# Values that differ from run to run: ids, random suffixes of CloudFormation, times, and private addresses
CHANGING = re.compile(
    r"(?P<prefix>(?:vpc|subnet|sgr?|i|fs|fsmt|eni|ami)-)[0-9a-f]{8,17}\b"
    r"|(?<=Group-)[0-9A-Z]{12}\b"
    r"|\b20\d{12}\b"
    r"|\b10\.0\.\d+\.(?!0/)\d+\b"
)


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Start a Chromium with an empty profile.

    Raises:
        SystemExit: Chromium is not installed.

    """
    program = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if program is None:
        raise SystemExit(CHROMIUM_MISSING)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=program,
            args=["--font-render-hinting=none"],
            chromium_sandbox=os.geteuid() != 0,  # Chromium refuses to use its sandbox as root
        )


@contextmanager
def create_cluster() -> Iterator[Project]:
    """Create a cluster and its UQLE machine in an emulated AWS, with the steps of the README.

    Raises:
        SystemExit: a step failed.

    """
    with emulated_aws(), tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        for step in rehearsal.STEPS:
            command = [*rehearsal.INVOKE, *step.task.split()]
            result = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            if result.returncode:
                raise SystemExit(f"invoke {step.task} failed:\n{result.stdout}{result.stderr}")
            if step.task == LAST_TASK:
                break
        yield Project(yaml.safe_load((ROOT / "invoke.yaml").read_text()))


def normalize(page: str) -> str:
    """Replace ids, times and addresses in the page, so that they are the same in every run.

    Distinct values remain distinct.
    """
    replacements: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        value, number = match[0], len(replacements)
        if value not in replacements:
            prefix = match["prefix"]
            digest = hashlib.sha256(f"{prefix}{number}".encode()).hexdigest()
            if prefix:
                replacements[value] = f"{prefix}{digest[:17]}"
            elif "." in value:
                replacements[value] = f"{value.rpartition('.')[0]}.{10 + number % 200}"
            else:
                replacements[value] = "20261124000000" if value.isdigit() else digest[:12].upper()
        return replacements[value]

    return CHANGING.sub(replace, page)


def main() -> int:
    """Take the screenshots."""
    with start_browser() as chromium, create_cluster() as project:
        page = chromium.new_page(viewport={"width": 1000, "height": 900}, device_scale_factor=2)
        page.set_content(normalize(picture.render_page(project)))
        for name, selector in SCREENSHOTS.items():
            page.locator(selector).screenshot(path=FOLDER / f"{name}.png")
            print(f"Wrote screenshots/{name}.png.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
