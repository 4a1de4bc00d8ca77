"""Make a network and a cluster in a second. Their stacks have the outputs and tags of real ones."""

from pathlib import Path
from typing import Any

from sandbox.api_calls import client
from sandbox.environment import DEFAULT_REGION
from sandbox.public_images import PCLUSTER_VERSION, UBUNTU_IMAGE, get_image_id

TEMPLATE = Path(__file__).with_name("small_cluster.cfn.yaml").read_text()
CONFIG = Path(__file__).with_name("small_cluster.config.yaml").read_text()
ARTIFACTS = f"parallelcluster/{PCLUSTER_VERSION}/clusters"  # pcluster's folder in its bucket
BUCKET = "parallelcluster-a886058fcd5cd5a8-v1-do-not-delete"  # of the account 123456789012 in eu-west-2
TIMESTAMP = "20261124000000"


def make_network(ec2: Any, cloudformation: Any, timestamp: str = TIMESTAMP) -> dict[str, str]:
    """Make the VPC and the stack that `pcluster configure` makes.

    Args:
        ec2: a client of EC2.
        cloudformation: a client of CloudFormation.
        timestamp: the end of the names of the VPC and the stack, 14 digits.

    Returns:
        The ids of the VPC and of its subnets: `vpc`, `public`, `private`.

    """
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": f"ParallelClusterVPC-{timestamp}"}])
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    host = f"https://{DEFAULT_REGION}-aws-parallelcluster.s3.{DEFAULT_REGION}.amazonaws.com"
    parameters = {
        "AvailabilityZone": f"{DEFAULT_REGION}a",
        "InternetGatewayId": "",
        "VpcId": vpc,
        "PublicCIDR": "10.0.0.0/24",
        "PrivateCIDR": "10.0.16.0/20",
    }
    name = f"parallelclusternetworking-pubpriv-{timestamp}"
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{host}/parallelcluster/{PCLUSTER_VERSION}/templates/networking/public-private-{PCLUSTER_VERSION}.cfn.json",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return {"vpc": vpc, "public": outputs["PublicSubnetId"], "private": outputs["PrivateSubnetId"]}


def make_cluster(
    name: str, network: dict[str, str], cloudformation: Any, template: str = TEMPLATE, config: str = CONFIG
) -> dict[str, str]:
    """Make the stack of a cluster, and the configuration that pcluster keeps in its bucket.

    Args:
        name: the cluster's name.
        network: the ids of a VPC, `vpc`, and of a subnet in it, `public`.
        cloudformation: a client of CloudFormation.
        template: the stack's template.
        config: the cluster's configuration, as YAML; None to store none.

    Returns:
        The stack's ARN, `stack`, and the id of the head node's security group, `group`.

    """
    folder = f"{ARTIFACTS}/{name}-0123456789abcdef"
    parameters = {
        "VpcId": network["vpc"],
        "SubnetId": network["public"],
        "ClusterName": name,
        "ImageId": get_image_id(DEFAULT_REGION, UBUNTU_IMAGE),
    }
    if config is not None:
        version = store_config(f"{folder}/configs/cluster-config.yaml", config)
        parameters |= {
            "ResourcesS3Bucket": BUCKET,
            "ArtifactS3RootDirectory": folder,
            "ConfigVersion": version,
        }
    stack = cloudformation.create_stack(
        StackName=name,
        TemplateBody=template,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Tags=[
            {"Key": "parallelcluster:version", "Value": PCLUSTER_VERSION},
            {"Key": "parallelcluster:cluster-name", "Value": name},
        ],
    )
    summaries = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    ids = {summary["LogicalResourceId"]: summary["PhysicalResourceId"] for summary in summaries}
    return {"stack": stack["StackId"], "group": ids.get("HeadNodeSecurityGroup", "")}


def store_config(key: str, config: str) -> str:
    """Store a configuration in the bucket that pcluster creates for itself, and return its version."""
    s3 = client("s3", DEFAULT_REGION)
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": DEFAULT_REGION})
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return str(s3.put_object(Bucket=BUCKET, Key=key, Body=config)["VersionId"])


def start_fleet(cluster: str) -> None:
    """Make the table with the status of the cluster's compute fleet: RUNNING."""
    dynamodb, table = client("dynamodb", DEFAULT_REGION), f"parallelcluster-{cluster}"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    data = {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": {"S": "2026-11-24 00:00:00+00:00"}}
    dynamodb.put_item(TableName=table, Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": data}})
