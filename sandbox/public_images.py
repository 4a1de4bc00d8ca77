"""What others publish in AWS, in each region: images, the parameter that names one, and the wizard's network template."""

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from botocore.session import get_session
from moto.ec2.models.amis import Ami
from moto.s3.models import s3_backends
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends

PCLUSTER = version("aws-parallelcluster")
IMAGES = {
    f"aws-parallelcluster-{PCLUSTER}-ubuntu-2404-lts-hvm-x86_64-1": "247102896272",
    "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-1": "099720109477",
}
UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
UBUNTU_IMAGE = list(IMAGES)[1]
NETWORK_TEMPLATE = Path(__file__).with_name("networking.cfn.yaml")
PUBLISHER = "000000000000"  # the account that AWS's own buckets belong to


def image_id(region: str, name: str) -> str:
    """Give the id of an image, which differs from region to region as in AWS."""
    return f"ami-{hashlib.sha256(f'{region} {name}'.encode()).hexdigest()[:17]}"


def images(ec2_backend: Any) -> dict[str, Ami]:
    """Make the published images of one region's EC2."""
    hvm = {
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "root_device_type": "ebs",
        "hypervisor": "xen",
    }
    ids = {name: image_id(ec2_backend.region_name, name) for name in IMAGES}
    return {
        ids[name]: Ami(
            ec2_backend, ids[name], name=name, owner_id=owner, owner_alias="amazon", public=True, **hvm
        )
        for name, owner in IMAGES.items()
    }


class Parameters(SimpleSystemManagerBackend):
    """Systems Manager with Canonical's public parameter, which names the newest image of Ubuntu."""

    __module__ = SimpleSystemManagerBackend.__module__  # moto finds the addresses of a service by it

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        value = image_id(region_name, UBUNTU_IMAGE)
        unset = dict.fromkeys(("description", "allowed_pattern", "keyid"))
        told = {"data_type": "text", "version": 1, "last_modified_date": 0} | unset
        self._parameters[UBUNTU].append(Parameter(account_id, UBUNTU, value, "String", **told))


ssm_backends.backend = Parameters


@functools.cache
def regions() -> list[str]:
    """Give the names of AWS's regions."""
    return get_session().get_available_regions("ec2")


def publish_templates() -> None:
    """Put the template of the wizard's network where it looks for it in every region, in buckets of another account."""
    storage, template = s3_backends[PUBLISHER]["aws"], NETWORK_TEMPLATE.read_bytes()
    key = f"parallelcluster/{PCLUSTER}/templates/networking/public-private-{PCLUSTER}.cfn.json"
    for region in regions():
        bucket = f"{region}-aws-parallelcluster"
        storage.create_bucket(bucket, region)
        storage.put_object(bucket, key, template)
