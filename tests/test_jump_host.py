import pytest

from sandbox.public_images import UBUNTU_IMAGE, get_image_id
from slurm_cluster.aws import stack, uqle_instance
from slurm_cluster.project import Project
from slurm_cluster.steps.access import find_jump_host
from slurm_cluster.steps.uqle import find_launch_target
from tests.support import REGION, SETTINGS


@pytest.mark.usefixtures("cluster")
def test_jump_host_is_the_uqle_machine_or_else_the_head_node(project, ec2, cloudformation):
    cluster = stack.require_cluster(cloudformation, project.cluster_name)
    instance_id = stack.require_output(cluster, "HeadNodeInstanceID")
    [head_node] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    other = Project({**SETTINGS, "uqle": {**SETTINGS["uqle"], "mount_point": "/data"}})
    through_head_node = (f"ubuntu@{head_node['PublicIpAddress']}", "/shared")
    assert find_jump_host(other, cluster) == through_head_node
    image_id, target = get_image_id(REGION, UBUNTU_IMAGE), find_launch_target(project)
    settings = project.get_uqle_settings()
    user_data = uqle_instance.render_user_data(target, "/data")
    uqle_id = uqle_instance.launch_instance(ec2, target, settings, image_id, user_data)
    address = uqle_instance.require_instance(ec2, "pcluster-ubuntu", REGION)["PublicIpAddress"]
    assert address != head_node["PublicIpAddress"]
    assert find_jump_host(other, cluster) == (f"ubuntu@{address}", "/data")
    ec2.stop_instances(InstanceIds=[uqle_id])
    assert find_jump_host(other, cluster) == through_head_node
