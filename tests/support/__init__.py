"""Code that tests share. No test file imports another one."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent
REGION = "eu-west-2"
SETTINGS = yaml.safe_load((ROOT / "invoke.yaml").read_text())
