"""Compare a caller's permissions with the policies in iam/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slurm_cluster import files
from slurm_cluster.aws import clients
from slurm_cluster.aws.file_system import to_list

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

IAM = Path(__file__).parents[2] / "iam"
# For the tasks, for pcluster, and for the roles that pcluster creates.
FILES = tuple(IAM / f"{name}.json" for name in ("permissions", "permissions-pcluster", "permissions-iam"))
EXAMPLE_CLUSTER = "pcluster-ubuntu"  # the cluster that the files are for
# One action for each pattern in the files, because the simulation accepts no patterns.
EXAMPLE_ACTIONS = {
    "cloudformation:Describe*": "cloudformation:DescribeStacks",
    "cloudformation:Get*": "cloudformation:GetTemplate",
    "cloudformation:List*": "cloudformation:ListStacks",
    "ec2:Describe*": "ec2:DescribeInstances",
    "elasticfilesystem:*": "elasticfilesystem:DeleteFileSystem",
    "elasticfilesystem:Describe*": "elasticfilesystem:DescribeFileSystems",
    "lambda:GetFunction*": "lambda:GetFunction",
    "s3:*": "s3:CreateBucket",
    "s3:Get*": "s3:GetObject",
    "s3:List*": "s3:ListBucket",
}


class PolicyScope(NamedTuple):
    """The cluster, region and account that a policy is checked for.

    Args:
        cluster: the cluster's name.
        region: its region.
        account: the account's id.
    """

    cluster: str
    region: str
    account: str


def load_policy(path: Path, scope: PolicyScope) -> dict[str, Any]:
    """Return a policy of iam/ for a cluster and its partition, like the `sed` in docs/permissions.md."""
    partition = f"arn:{clients.get_partition(scope.region)}:"
    text = files.read_text(path).replace(EXAMPLE_CLUSTER, scope.cluster).replace("arn:aws:", partition)
    policy: dict[str, Any] = json.loads(text)
    return policy


def get_principal_arn(caller: str) -> str:
    """Return the ARN of the caller's user or role. For an assumed role, return the role's ARN.

    Args:
        caller: the caller's ARN from STS. It lacks a role's path, without which IAM does not find the role.
    """
    assumed = re.fullmatch(r"(arn:[^:]+):sts::(\d+):assumed-role/([^/]+)/.+", caller)
    return f"{assumed[1]}:iam::{assumed[2]}:role/{assumed[3]}" if assumed else caller


def find_missing_actions(iam: IAMClient, caller: str, path: Path, scope: PolicyScope) -> list[str]:
    """Return the actions of a policy that are denied to the caller, by simulating the policy.

    Args:
        iam: a client of IAM.
        caller: the caller's ARN from STS.
        path: the policy.
        scope: the cluster that it is checked for.
    """
    denied: set[str] = set()
    for statement in load_policy(path, scope)["Statement"]:
        resources = [fill_pattern(arn, scope) for arn in to_list(statement["Resource"]) if arn != "*"]
        results = clients.list_all(
            iam,
            "simulate_principal_policy",
            PolicySourceArn=get_principal_arn(caller),
            ActionNames=[EXAMPLE_ACTIONS.get(action, action) for action in to_list(statement["Action"])],
            ResourceArns=resources or ["*"],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for key, value in get_context(statement).items()
            ],
        )
        denied |= {result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed"}
    return sorted(denied)


def get_context(statement: dict[str, Any]) -> dict[str, str]:
    """Return a value for each condition key that meets the statement's condition."""
    return {
        key: to_list(values)[0].replace("*", "x")
        for operator in statement.get("Condition", {}).values()
        for key, values in operator.items()
    }


def fill_pattern(arn: str, scope: PolicyScope) -> str:
    """Return the ARN of one resource that matches a pattern."""
    start, partition, service, region, account, name = arn.split(":", 5)
    region, account = region.replace("*", scope.region), account.replace("*", scope.account)
    return ":".join([start, partition, service, region, account, name.replace("*", "x")])
