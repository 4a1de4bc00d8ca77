"""The networks of wizards without a cluster, also of a wizard that was interrupted in this folder."""

from slurm_cluster.aws import unclaimed_vpcs
from slurm_cluster.aws.unclaimed_vpcs import UnclaimedVpc
from slurm_cluster.config import wizard_note
from slurm_cluster.project import Project


def list_unclaimed_vpcs(p: Project) -> list[UnclaimedVpc]:
    """Find the VPCs that a wizard created, without a cluster's tag and without nodes."""
    vpcs = unclaimed_vpcs.find_unclaimed_vpcs(p.ec2, p.cloudformation)
    return vpcs + [vpc for vpc in list_candidate_vpcs(p) if vpc not in vpcs]


def list_candidate_vpcs(p: Project) -> list[UnclaimedVpc]:
    """Return the VPCs that an interrupted wizard may have created; none if no wizard was interrupted."""
    note = wizard_note.read_note(p.temp_config)
    if not note.cluster:
        return []
    return unclaimed_vpcs.find_unclaimed_vpcs(p.ec2, p.cloudformation, earlier_vpc_ids=note.vpcs)


def format_unclaimed_vpcs(p: Project) -> list[str]:
    """Return the lines that list unclaimed VPCs, with the commands to claim or delete each."""
    return unclaimed_vpcs.describe_unclaimed_vpcs(list_unclaimed_vpcs(p), p.cluster_name, p.region)
