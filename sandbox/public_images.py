"""Images, their public parameters, and the network template, which other accounts publish in each region."""

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

from botocore.session import get_session
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.s3.models import s3_backends
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends

PCLUSTER_VERSION = version("aws-parallelcluster")
UBUNTU_IMAGE = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-1"
UBUNTU_ARM_IMAGE = UBUNTU_IMAGE.replace("amd64", "arm64")
IMAGE_OWNERS = {  # the name of each image, and the account that publishes it
    **{
        f"aws-parallelcluster-{PCLUSTER_VERSION}-{system}-hvm-{architecture}-1": "247102896272"
        for system in ("amzn2023", "ubuntu-2204-lts", "ubuntu-2404-lts")
        for architecture in ("x86_64", "arm64")
    },
    UBUNTU_IMAGE: "099720109477",
    UBUNTU_ARM_IMAGE: "099720109477",
}
UBUNTU_PARAMETERS = {
    f"/aws/service/canonical/ubuntu/server/24.04/stable/current/{architecture}/hvm/ebs-gp3/ami-id": image
    for architecture, image in (("amd64", UBUNTU_IMAGE), ("arm64", UBUNTU_ARM_IMAGE))
}
NETWORK_TEMPLATE = Path(__file__).with_name("networking.cfn.yaml")
PUBLISHER_ACCOUNT = "000000000000"  # the owner of AWS's buckets


def get_image_id(region: str, name: str) -> str:
    """Return the id of an image; it differs between regions, as in AWS."""
    return f"ami-{hashlib.sha256(f'{region} {name}'.encode()).hexdigest()[:17]}"


def create_images(ec2: EC2Backend) -> dict[str, Ami]:
    """Return the published images of one region, by id."""
    attributes = {
        "virtualization_type": "hvm",
        "root_device_type": "ebs",
        "hypervisor": "xen",
        "owner_alias": "amazon",
        "public": True,
    }
    ids = {name: get_image_id(ec2.region_name, name) for name in IMAGE_OWNERS}
    return {
        ids[name]: Ami(
            ec2,
            ids[name],
            name=name,
            owner_id=owner,
            architecture="arm64" if "arm64" in name else "x86_64",
            **attributes,
        )
        for name, owner in IMAGE_OWNERS.items()
    }


class SandboxSSMBackend(SimpleSystemManagerBackend):
    """A Systems Manager with Canonical's public parameters, the ids of the newest Ubuntu images."""

    __module__ = SimpleSystemManagerBackend.__module__  # moto derives the service's URLs from it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        for name, image in UBUNTU_PARAMETERS.items():
            parameter = Parameter(
                account_id,
                name,
                get_image_id(region_name, image),
                "String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                data_type="text",
                version=1,
                last_modified_date=0,
            )
            self._parameters[name].append(parameter)


ssm_backends.backend = SandboxSSMBackend


@functools.cache
def list_regions() -> list[str]:
    """Return the names of AWS's regions."""
    return get_session().get_available_regions("ec2")


def publish_templates() -> None:
    """Store the network template where `pcluster configure` reads it: in a bucket for each region."""
    s3, template = s3_backends[PUBLISHER_ACCOUNT]["aws"], NETWORK_TEMPLATE.read_bytes()
    folder = f"parallelcluster/{PCLUSTER_VERSION}/templates/networking"
    for region in list_regions():
        bucket = f"{region}-aws-parallelcluster"
        s3.create_bucket(bucket, region)
        s3.put_object(bucket, f"{folder}/public-private-{PCLUSTER_VERSION}.cfn.json", template)
