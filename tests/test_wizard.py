from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from invoke.exceptions import ResponseNotAccepted

from slurm_cluster import files, network, wizard
from slurm_cluster.errors import ClusterError
from tests.conftest import lay_network


def answers(stream, watcher=None):
    return list((watcher or wizard.Answers(wizard.ANSWERS)).submit(stream))


def test_a_question_is_answered_as_the_readme_says():
    assert answers("Allowed values for Scheduler:\r\n1. slurm\r\nScheduler [slurm]: ") == ["slurm\n"]
    assert answers("Automate VPC creation? (y/n) [n]: ") == ["y\n"]


def test_the_answers_are_those_of_the_readme_for_one_cluster():
    answers = wizard.answers("eu-west-2", "one", ["t3.xlarge", "t3.large"])
    assert {question: answer for question, answer in answers.items() if answer} == {
        "AWS Region ID": "eu-west-2",
        "EC2 Key Pair Name": "one",
        "Scheduler": "slurm",
        "Operating System": "ubuntu2404",
        "Head node instance type": "t3.xlarge",
        "Compute instance type": "t3.large",
        "Automate VPC creation?": "y",
        "Network Configuration": "Head node in a public subnet and compute fleet in a private subnet",
        "Automate Subnet creation?": "y",
    }


def test_a_question_without_an_answer_of_ours_gets_its_default():
    assert answers("Number of queues [1]: ") == ["\n"]


def test_each_question_is_answered_once_however_the_stream_arrives():
    watcher = wizard.Answers(wizard.ANSWERS)
    stream = "Scheduler [slurm]: slurm\r\nAutomate VPC creation? (y/n) [n]: "
    given = [answer for end in range(len(stream) + 1) for answer in watcher.submit(stream[:end])]
    assert given == ["slurm\n", "y\n"]


def test_a_refused_answer_ends_it():
    with pytest.raises(ResponseNotAccepted, match="is not an acceptable value"):
        answers('EC2 Key Pair Name [k]: x\r\nERROR: "x" is not an acceptable value for EC2 Key Pair Name\r\n')


def test_an_unforeseen_question_ends_it():
    with pytest.raises(ResponseNotAccepted, match="an unforeseen question: Your favourite colour"):
        answers("Your favourite colour [blue]: ")


def test_it_does_not_start_without_the_key_pair_or_beside_a_network_of_the_clusters_own(ec2, network):
    with pytest.raises(ClusterError, match="invoke create-key-pair"):
        wizard.check_ready(ec2, "one", "nobodys")
    wizard.check_ready(ec2, "one", "pcluster-ubuntu")
    with pytest.raises(ClusterError, match=network["vpc"]):
        wizard.check_ready(ec2, "pcluster-ubuntu", "pcluster-ubuntu")


def test_a_network_that_stands_needs_no_wizard_and_one_that_is_gone_is_named(ec2, network):
    assert "nothing to do" in wizard.already_done(ec2, Path("temp-config.yml"))
    text = Path("temp-config.yml").read_text()
    Path("temp-config.yml").write_text(text.replace(network["public"], "subnet-00000000"))
    with pytest.raises(ClusterError, match="subnet-00000000, which is not in this region"):
        wizard.already_done(ec2, Path("temp-config.yml"))


def named(ec2, name):
    """Make a VPC of that name; of none where it is empty."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    if name:
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": name}])
    return vpc


def started(seconds=0):
    """Give a name as a wizard that was started now, or these seconds later, gives it."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return f"ParallelClusterVPC-{moment.strftime(network.STARTED)}"


@pytest.mark.parametrize("name", [started, lambda: ""])
def test_a_wizard_that_is_stopped_leaves_a_vpc_that_is_the_clusters(name, ec2):
    def stopped():
        with wizard.watched(ec2, Path("temp-config.yml"), "one") as made:
            vpc = named(ec2, name())
            named(ec2, "somebody's")
            named(ec2, started(3600))
            claimed.append((vpc, made))
            raise KeyboardInterrupt

    claimed: list = []
    with pytest.raises(KeyboardInterrupt):
        stopped()
    [(vpc, made)] = claimed
    assert made == [vpc] == network.of_cluster(ec2, "one")
    assert not list(Path().iterdir())


def test_a_wizard_that_was_killed_leaves_a_note_by_which_the_next_run_finds_its_vpc(ec2):
    watched = wizard.watched(ec2, Path("temp-config.yml"), "one")
    watched.__enter__()
    vpc = named(ec2, started())
    assert network.of_cluster(ec2, "one") == []
    assert wizard.settle(ec2, Path("temp-config.yml")) == [vpc] == network.of_cluster(ec2, "one")
    assert wizard.settle(ec2, Path("temp-config.yml")) == []


def test_of_two_vpcs_that_can_be_the_wizards_none_is_taken_for_it(ec2):
    watched = wizard.watched(ec2, Path("temp-config.yml"), "one")
    watched.__enter__()
    both = [named(ec2, started()), named(ec2, started())]
    with pytest.raises(ClusterError) as error:
        wizard.settle(ec2, Path("temp-config.yml"))
    assert all(vpc in str(error.value) for vpc in both)
    assert network.of_cluster(ec2, "one") == []


def test_a_wizard_that_finished_claims_the_network_that_its_file_names_and_no_other(ec2, network_of_nobody):
    with wizard.watched(ec2, Path("temp-config.yml"), "one") as made:
        Path("other.yml").rename("temp-config.yml")
        named(ec2, started())
    assert made == [network_of_nobody] == network.of_cluster(ec2, "one")


@pytest.fixture
def network_of_nobody(ec2, cloudformation):
    laid = lay_network(ec2, cloudformation)
    ec2.delete_tags(Resources=[laid["vpc"]], Tags=[{"Key": "slurm-cluster"}])
    Path("temp-config.yml").rename("other.yml")
    return laid["vpc"]


def test_two_wizards_are_never_at_work_in_one_folder(account, invoke):
    with files.alone_in(Path(), "configure"):
        answer = invoke("configure")
    assert answer.returncode == 1
    assert "`invoke configure` is at work in" in answer.stderr
