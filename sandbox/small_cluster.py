"""A small cluster for tests: a stack with the logical ids, outputs and tags of ParallelCluster's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.public_images import PCLUSTER_VERSION, UBUNTU_IMAGE, get_image_id

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient

TEMPLATE = Path(__file__).with_name("small_cluster.cfn.yaml").read_text()


def make_cluster(
    name: str, network: dict[str, str], cloudformation: CloudFormationClient, template: str = TEMPLATE
) -> dict[str, str]:
    """Create the stack of a small cluster.

    Args:
        name: the cluster's name.
        network: the ids of the VPC, as `vpc`, and of the head node's subnet, as `public`.
        cloudformation: a client of CloudFormation.
        template: the stack's template.

    Returns:
        The stack's id, as `stack`, and the id of the head node's security group, as `group`.

    """
    parameters = {
        "VpcId": network["vpc"],
        "SubnetId": network["public"],
        "ClusterName": name,
        "ImageId": get_image_id(cloudformation.meta.region_name, UBUNTU_IMAGE),
    }
    stack = cloudformation.create_stack(
        StackName=name,
        TemplateBody=template,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Tags=[{"Key": "parallelcluster:version", "Value": PCLUSTER_VERSION}],
    )
    summaries = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    ids = {summary["LogicalResourceId"]: summary["PhysicalResourceId"] for summary in summaries}
    return {"stack": stack["StackId"], "group": ids.get("HeadNodeSecurityGroup", "")}
