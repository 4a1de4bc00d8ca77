"""The procedure in docs/by-hand.md ends in the same state as the tasks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import chevron
import pytest
import yaml

from sandbox.api_calls import client
from slurm_cluster.aws import uqle_instance
from tests.support import REGION, ROOT
from tests.support.account_state import mask_ids, read_decisions

PROCEDURE = (ROOT / "docs" / "by-hand.md").read_text()
BLOCKS = re.findall(r"```bash by-hand\n(.*?)```", PROCEDURE, re.DOTALL)
[VARIABLES] = re.findall(r"```bash variables\n(.*?)```", PROCEDURE, re.DOTALL)
pytestmark = pytest.mark.xdist_group("walk")
BIN = Path(sys.executable).parent

# Replaces what a user types: the answers to the wizard, and the printed values in the parameter file. It also waits for
# the stack, and logs the arguments of scp, because no machine boots here.
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
scp() { printf '%s\n' "$*" > ~/scp-arguments; }
type_values() {
  python3 - ~/printed config-parameters.json <<'END'
import json, re, sys
lines = open(sys.argv[1]).read().splitlines()
printed = json.loads("{" + "".join(line for line in lines if line.startswith('  "')).rstrip(",") + "}")
values = json.load(open(sys.argv[2]))
assert printed.keys() <= values.keys()
json.dump(values | printed, open(sys.argv[2], "w"), indent=2)
END
}
"""
NAMES = (
    "AWS_PAGER cluster region AWS_DEFAULT_REGION ssh_from mount_point account partition bucket secret policy "
    "subnet group file_system instance"
)
FUNCTIONS = "script_uri stack_output instance_value"
# Runs the block for a new shell without the variables of the procedure, and checks that it sets them.
NEW_SHELL = f"""
show() {{
  for name in {NAMES}; do echo "$name=${{!name}}"; done
  umask; script_uri on_node_start_ubuntu; stack_output EFSIds; instance_value PrivateIpAddress
}}
before=$(show)
unset {NAMES} && unset -f {FUNCTIONS} && umask 022
{VARIABLES}
[ "$(show)" = "$before" ] || {{ show; echo "instead of"; echo "$before"; exit 1; }}
"""


def fill_in(block):
    """Return a block. After the block that prints the parameters, also write them to the file."""
    if "cp config-parameters.example.json" not in block:
        return block
    return f"{{\n{block}}} > ~/printed\ntype_values"


def without_key(uqle_env):
    return re.sub(r"^SLURM_JWT_KEY=.*\n", "", uqle_env, flags=re.MULTILINE)


@pytest.mark.usefixtures("account")
def test_by_hand_and_tasks_give_the_same_state(walk, invoke):
    for name in "bootstrap", "config.template.yml", "config-parameters.example.json":
        Path(name).symlink_to(ROOT / name)
    script = "\n".join([KEYBOARD, *map(fill_in, BLOCKS), NEW_SHELL])
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "AWS_PAGER": "a-pager"}
    answer = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    by_hand = read_decisions()
    uqle_env = Path("uqle.env").read_text()
    by_hand["files"]["uqle.env"] = without_key(by_hand["files"]["uqle.env"])
    for part, made in walk.decisions.items():
        assert by_hand[part] == made, part
    assert (Path.home() / ".ssh" / "pcluster-ubuntu.pem").stat().st_mode & 0o777 == 0o600

    mode, with_key = walk.files["work/uqle.env"]
    assert Path("uqle.env").stat().st_mode & 0o777 == mode == 0o600
    [secret] = [secret["ARN"] for secret in client("secretsmanager", REGION).list_secrets()["SecretList"]]
    key = client("secretsmanager", REGION).get_secret_value(SecretId=secret)["SecretString"]
    assert mask_ids(uqle_env.replace(key, "KEY")) == mask_ids(with_key.decode().replace(walk.key, "KEY"))
    assert key not in answer.stdout + answer.stderr
    [machine] = uqle_instance.list_tagged_instances(client("ec2", REGION), "pcluster-ubuntu")
    copy = f"-i {Path.home()}/.ssh/pcluster-ubuntu.pem uqle.env ubuntu@{machine['PublicIpAddress']}:\n"
    assert (Path.home() / "scp-arguments").read_text() == copy
    again = invoke("connect-uqle")
    assert again.returncode == 0
    assert "already allows all traffic" in again.stdout
    assert "is running" in again.stdout
    assert "differs from a new launch" not in again.stdout


def test_update_without_changes_says_so(walk):
    [said] = [said for step, said in walk.outputs.items() if step.startswith("update-cluster")]
    assert "matches config.yml already: nothing to do." in said


def test_procedure_names_no_editor():
    assert not re.search(r"EDITOR|\b(nano|vi|vim|emacs)\b", PROCEDURE)


def test_example_renders_to_readable_yaml():
    example = json.loads((ROOT / "config-parameters.example.json").read_text())
    rendered = chevron.render((ROOT / "config.template.yml").read_text(), example)
    assert yaml.safe_load(rendered)["Region"] == example["AWS_REGION"]
