"""The procedure in docs/by-hand.md ends in the same state as the tasks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.account_state import read_decisions

PROCEDURE = (ROOT / "docs" / "by-hand.md").read_text()
BLOCKS = re.findall(r"```bash by-hand\n(.*?)```", PROCEDURE, re.DOTALL)
[VARIABLES] = re.findall(r"```bash variables\n(.*?)```", PROCEDURE, re.DOTALL)
pytestmark = pytest.mark.xdist_group("walk")
BIN = Path(sys.executable).parent

# What a person types: the answers to the wizard, and the values in the parameter file. And the wait for the stack.
KEYBOARD = r"""
set -euo pipefail
pcluster() {
  if [ "$1" = configure ]; then
    printf '%s\n' "$region" "$cluster" slurm ubuntu2404 t3.xlarge '' '' '' t3.large '' y '' '' | command pcluster "$@"
  else
    command pcluster "$@"
  fi
  if [ "$1" = create-cluster ]; then # the waiter of aws would ask again only after 30 seconds
    until [ "$(aws cloudformation describe-stacks --stack-name $cluster --query 'Stacks[0].StackStatus' --output text)" \
      = CREATE_COMPLETE ]; do sleep 0.2; done
  fi
}
write_values() {
  python3 - "$1" <<END
import json, sys, yaml
wizard = yaml.safe_load(open("temp-config.yml"))
folder = "s3://$bucket/$cluster/"
scripts = "$(aws s3 ls s3://$bucket/$cluster/ | awk '{print $4}' | tr '\n' ' ')".split()
values = json.load(open(sys.argv[1])) | {
    "AWS_REGION": wizard["Region"],
    "SSH_KEY_PAIR": wizard["HeadNode"]["Ssh"]["KeyName"],
    "PRIVATE_SUBNET": wizard["Scheduling"]["SlurmQueues"][0]["Networking"]["SubnetIds"][0],
    "PUBLIC_SUBNET": wizard["HeadNode"]["Networking"]["SubnetId"],
    "CUSTOM_BOOT_ACTION_START": folder + next(s for s in scripts if "start" in s),
    "CUSTOM_BOOT_ACTION_CONFIGURED": folder + next(s for s in scripts if "configured" in s),
    "SLURM_JWT_KEY": "$secret",
    "SLURM_JWT_POLICY": "$policy",
    "BOOTSTRAP_BUCKET": "$bucket",
    "CLUSTER_NAME": "$cluster",
    "SSH_FROM": "203.0.113.7/32",
}
json.dump(values, open(sys.argv[1], "w"), indent=2)
END
}
EDITOR=write_values
"""
NAMES = "cluster region AWS_DEFAULT_REGION account partition bucket secret policy subnet group"
# The block for a new shell sets the variables of the procedure; here it runs in a shell without them.
NEW_SHELL = f"""
show() {{ for name in {NAMES} ; do echo "$name=${{!name}}"; done; stack_output EFSIds; }}
before=$(show)
unset {NAMES} && unset -f stack_output
{VARIABLES}
[ "$(show)" = "$before" ] || {{ show; echo "instead of"; echo "$before"; exit 1; }}
"""


@pytest.mark.usefixtures("account")
def test_by_hand_and_tasks_give_the_same_state(walked, invoke):
    for name in "bootstrap", "config.template.yml", "config-parameters.example.json":
        Path(name).symlink_to(ROOT / name)
    script = "\n".join([KEYBOARD, *BLOCKS, NEW_SHELL])
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    answer = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    by_hand = read_decisions()
    for part, made in walked.decisions.items():
        assert by_hand[part] == made, part
    assert (Path.home() / ".ssh" / "pcluster-ubuntu.pem").stat().st_mode & 0o777 == 0o600
    assert Path("uqle.env").stat().st_mode & 0o777 == 0o600
    again = invoke("connect-uqle")
    assert again.returncode == 0
    assert "already allows all traffic" in again.stdout
    assert "is running" in again.stdout
    assert "differs from the settings" not in again.stdout


def test_update_without_changes_says_so(walked):
    [said] = [said for step, said in walked.outputs.items() if step.startswith("update-cluster")]
    assert "matches config.yml already: nothing to do." in said
