import json

from slurm_cluster import status
from tests.conftest import SETTINGS


def found(project):
    return {part.name: part for part in status.parts(project)}


def test_an_empty_account_has_nothing_and_the_first_step_comes_next(project):
    parts = status.parts(project)
    assert not any(part.found or part.costs for part in parts)
    assert status.next_step(parts) == "invoke configure"


def test_each_part_that_stands_is_named_with_what_it_costs(project, cluster, network):
    parts = found(project)
    assert network["vpc"] in parts["network"].found
    assert network["public"] in parts["network"].found
    assert parts["network"].costs == "NAT gateway, public address"
    assert parts["cluster"].found == "CREATE_COMPLETE"
    assert ", running, " in parts["head node"].found
    assert parts["compute nodes"].found == "none running"
    assert parts["file system"].found.startswith("fs-")
    assert (parts["boot scripts"].found, parts["JWT key"].found, parts["UQLE machine"].found) == ("", "", "")


def test_the_next_step_is_the_first_that_is_missing(project, cluster, invoke):
    assert status.next_step(status.parts(project)) == "invoke upload-bootstrap"
    for task in "upload-bootstrap", "create-jwt-key":
        assert invoke(task).returncode == 0
    assert status.next_step(status.parts(project)) == "invoke allow-head-node-group"
    assert invoke("connect-uqle").returncode == 0
    assert status.next_step(status.parts(project)) == "invoke handover"


def test_what_is_left_is_named_with_its_reason_or_how_it_goes(project, key_pair, invoke):
    assert invoke("upload-bootstrap").returncode == 0
    assert invoke("create-jwt-key").returncode == 0
    for name in "pcluster-ubuntu-202611240000", "pcluster-ubuntu-two-202611240000":
        project.client("logs").create_log_group(logGroupName=f"/aws/parallelcluster/{name}")
    lines = status.left(project)
    assert [line.split()[0] for line in lines] == ["log", "key", "2", "secret"]
    assert "pcluster-ubuntu-202611240000" in lines[0]
    assert all("invoke down --all" in line for line in lines[2:])


def test_scripts_read_the_same_as_json(project, cluster):
    told = json.loads(status.as_json(project))
    assert (told["cluster"], told["region"]) == (SETTINGS["cluster_name"], "eu-west-2")
    assert [part["name"] for part in told["parts"]] == [part.name for part in status.parts(project)]
    assert told["next"] == "invoke upload-bootstrap"
