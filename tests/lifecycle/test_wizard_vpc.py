import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest

from slurm_cluster import files
from slurm_cluster.aws import network, unclaimed_vpcs
from slurm_cluster.aws.unclaimed_vpcs import find_unclaimed_vpcs
from slurm_cluster.config import wizard_note
from slurm_cluster.errors import ClusterError
from slurm_cluster.project import Project
from slurm_cluster.state import unclaimed_networks
from slurm_cluster.steps import vpc as vpc_step
from slurm_cluster.steps import wizard, wizard_vpc
from slurm_cluster.views import next_step
from slurm_cluster.views.resources import list_resources
from tests.support import SETTINGS
from tests.support.prepared_account import prepare_network


def test_wizard_needs_a_key_pair_and_no_other_network(project, network):
    other = Project({**SETTINGS, "cluster_name": "one", "key_pair": "nobodys"})
    Path("temp-config.yml").unlink()
    with pytest.raises(ClusterError, match="invoke create-key-pair"):
        vpc_step.check_ready(other)
    vpc_step.check_ready(Project({**SETTINGS, "cluster_name": "one", "key_pair": "pcluster-ubuntu"}))
    with pytest.raises(ClusterError, match=network["vpc"]):
        vpc_step.check_ready(project)


def test_configured_network_must_exist(project, network, capsys):
    vpc_step.check_configured_network(project)
    assert "nothing to do" in capsys.readouterr().out
    text = Path("temp-config.yml").read_text()
    Path("temp-config.yml").write_text(text.replace(network["public"], "subnet-00000000"))
    with pytest.raises(ClusterError, match="subnet-00000000, which is not in eu-west-2"):
        vpc_step.check_configured_network(project)


def create_vpc(ec2, name):
    """Create a VPC with this name; without a name if it is empty."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    if name:
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": name}])
    return vpc


def get_vpc_name(seconds=0):
    """Return the name of the VPC of a wizard that starts now, or some seconds later."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return f"ParallelClusterVPC-{moment.strftime(network.TIMESTAMP)}"


TEMP_CONFIG, NOTE = Path("temp-config.yml"), Path("temp-config.yml.begun")


def start_wizard(ec2, cloudformation):
    """Start a wizard for the cluster `one` that is killed, so its final steps do not run."""
    wizard_vpc.track_vpc(ec2, cloudformation, TEMP_CONFIG, "one").__enter__()


def create_unclaimed_network(ec2, cloudformation, began=None):
    """Create a network as an unfinished wizard does. Return the ids of its VPC and its stack."""
    began = began or get_vpc_name().removeprefix("ParallelClusterVPC-")
    created = prepare_network(ec2, cloudformation, timestamp=began)
    ec2.delete_tags(Resources=[created["vpc"]], Tags=[{"Key": "slurm-cluster"}])
    TEMP_CONFIG.unlink()
    stack = cloudformation.describe_stacks(StackName=f"parallelclusternetworking-pubpriv-{began}")["Stacks"][
        0
    ]
    return created["vpc"], stack["StackId"]


def test_stopped_wizard_claims_the_vpc_of_its_stack(ec2, cloudformation):
    def run_wizard():
        with wizard_vpc.track_vpc(ec2, cloudformation, TEMP_CONFIG, "one") as claimed_ids:
            vpc, stack_id = create_unclaimed_network(ec2, cloudformation)
            create_vpc(ec2, get_vpc_name())
            claimed.append((vpc, claimed_ids))
            for part in (f"Stack Name: x (id: {stack_id[:20]}", f"{stack_id[20:]})\r\n"):
                wizard.WizardScreen.write(screen, part)
            raise KeyboardInterrupt

    claimed: list = []
    screen = wizard.WizardScreen(cloudformation, partial(wizard_note.record_stack, TEMP_CONFIG), quiet=True)
    with pytest.raises(KeyboardInterrupt):
        run_wizard()
    [(vpc, claimed_ids)] = claimed
    assert claimed_ids == [vpc] == network.list_cluster_vpcs(ec2, "one")
    assert not NOTE.exists()


def test_run_after_a_kill_claims_the_vpc_of_the_stack(ec2, cloudformation):
    start_wizard(ec2, cloudformation)
    vpc, stack_id = create_unclaimed_network(ec2, cloudformation)
    wizard.WizardScreen(cloudformation, partial(wizard_note.record_stack, TEMP_CONFIG), quiet=True).write(
        f"Stack Name: x (id: {stack_id})\r\n"
    )
    assert network.list_cluster_vpcs(ec2, "one") == []
    assert (
        wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG)
        == [vpc]
        == network.list_cluster_vpcs(ec2, "one")
    )
    assert wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG) == []


@pytest.mark.parametrize("name", [get_vpc_name, lambda: ""])
def test_unproven_vpc_is_listed_and_never_claimed(name, ec2, cloudformation, project, key_pair):
    start_wizard(ec2, cloudformation)
    vpc = create_vpc(ec2, name())
    assert wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG) == []
    assert network.list_cluster_vpcs(ec2, "one") == []
    assert [found.id for found in unclaimed_networks.list_candidate_vpcs(project)] == [vpc]
    step = next_step.get_next_step(project, list_resources(project))
    assert step == "claim or delete your VPC in the list above, then run invoke configure"
    assert any(vpc in line for line in unclaimed_networks.format_unclaimed_vpcs(project))
    assert NOTE.exists()


def test_note_is_kept_until_the_user_tags_the_vpc(ec2, cloudformation):
    start_wizard(ec2, cloudformation)
    vpc = create_vpc(ec2, get_vpc_name())
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "slurm-cluster", "Value": "one"}])
    wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG)
    assert not NOTE.exists()


def test_empty_lookup_keeps_the_note_for_the_next_task(ec2, cloudformation, unclaimed_network, monkeypatch):
    start_wizard_before(ec2, cloudformation, unclaimed_network)
    Path("other.yml").rename(TEMP_CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr(network, "find_vpc_of_subnet", lambda *_: None)
        assert wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG) == []
    assert NOTE.exists()
    assert (
        wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG)
        == [unclaimed_network]
        == network.list_cluster_vpcs(ec2, "one")
    )
    assert not NOTE.exists()


def start_wizard_before(ec2, cloudformation, vpc):
    """Write the note of a wizard that started before a VPC existed."""
    start_wizard(ec2, cloudformation)
    note = wizard_note.read_note(TEMP_CONFIG)
    wizard_note.write_note(
        TEMP_CONFIG, note._replace(vpcs=tuple(other for other in note.vpcs if other != vpc))
    )


def test_older_network_is_not_claimed(ec2, cloudformation, unclaimed_network):
    start_wizard(ec2, cloudformation)
    Path("other.yml").rename(TEMP_CONFIG)
    assert wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG) == []
    assert network.list_cluster_vpcs(ec2, "one") == []


def test_vpc_with_another_clusters_tag_keeps_it(ec2, cloudformation, unclaimed_network):
    start_wizard_before(ec2, cloudformation, unclaimed_network)
    Path("other.yml").rename(TEMP_CONFIG)
    ec2.create_tags(Resources=[unclaimed_network], Tags=[{"Key": "slurm-cluster", "Value": "two"}])
    wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG)
    assert network.list_cluster_vpcs(ec2, "two") == [unclaimed_network]


def test_finished_wizard_claims_the_network_of_its_file_only(ec2, cloudformation):
    with wizard_vpc.track_vpc(ec2, cloudformation, TEMP_CONFIG, "one") as claimed_ids:
        created = prepare_network(ec2, cloudformation)
        ec2.delete_tags(Resources=[created["vpc"]], Tags=[{"Key": "slurm-cluster"}])
        create_vpc(ec2, get_vpc_name())
    assert claimed_ids == [created["vpc"]] == network.list_cluster_vpcs(ec2, "one")


def test_broken_note_is_reported(ec2, cloudformation):
    for text in ("", "[]", "{}", '{"cluster": "one"}'):
        NOTE.write_text(text)
        with pytest.raises(
            ClusterError, match=r"temp-config.yml.begun is not a note of `invoke configure`. Remove it"
        ):
            wizard_vpc.claim_wizard_vpc(ec2, cloudformation, TEMP_CONFIG)


def test_unclaimed_vpcs_are_listed_with_commands(ec2, cloudformation, invoke, key_pair):
    """By configure, status and down. The printed commands work."""
    vpc, _ = create_unclaimed_network(ec2, cloudformation, began="20261124000000")
    [gateway] = [each["NatGatewayId"] for each in ec2.describe_nat_gateways()["NatGateways"]]
    tag = f"aws ec2 create-tags --region eu-west-2 --resources {vpc} --tags Key=slurm-cluster,Value=pcluster-ubuntu"
    stack = "parallelclusternetworking-pubpriv-20261124000000"
    delete = (
        f"aws cloudformation delete-stack --region eu-west-2 --stack-name {stack} && "
        f"aws cloudformation wait stack-delete-complete --region eu-west-2 --stack-name {stack} && "
        f"aws ec2 delete-vpc --region eu-west-2 --vpc-id {vpc}"
    )
    for task in ("status", "down --yes --all", "delete-network", "configure"):
        printed = invoke(*task.split()).printed
        for expected in (
            f"{vpc} ParallelClusterVPC-20261124000000, created 2026-11-24 00:00 UTC, ",
            gateway,
            tag,
            delete,
        ):
            assert printed.count(expected) == 1, (task, printed)
        assert (
            "An interrupted `invoke configure`, or somebody else, created these networks in eu-west-2:"
            in printed
        )
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    run_aws(delete)
    assert "ParallelClusterVPC-20261124000000" not in invoke("status").printed


def test_age_is_never_zero_hours():
    assert unclaimed_vpcs.format_age(get_vpc_name(seconds=-60)).endswith("UTC, less than 2 hours ago")
    assert unclaimed_vpcs.format_age(get_vpc_name(seconds=-3 * 3600)).endswith("UTC, 3 hours ago")


def run_aws(command):
    """Run a printed command in a shell, with this environment's aws."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, shell=True, env=environment, check=True, capture_output=True)  # noqa: S602 - printed by us


def test_vpc_with_a_cluster_is_not_listed(ec2, cloudformation, cluster, network):
    ec2.delete_tags(Resources=[network["vpc"]], Tags=[{"Key": "slurm-cluster"}])
    assert find_unclaimed_vpcs(ec2, cloudformation) == []


@pytest.fixture
def unclaimed_network(ec2, cloudformation):
    created = prepare_network(ec2, cloudformation)
    ec2.delete_tags(Resources=[created["vpc"]], Tags=[{"Key": "slurm-cluster"}])
    Path("temp-config.yml").rename("other.yml")
    return created["vpc"]


def test_second_wizard_in_the_same_folder_is_refused(account, invoke):
    with files.acquire_lock(Path(), "configure"):
        answer = invoke("configure")
    assert answer.returncode == 1
    assert "`invoke configure` is running in" in answer.stderr
