import pytest

from slurm_cluster.aws import stack, uqle_instance
from slurm_cluster.steps.access import find_jump_host
from slurm_cluster.steps.uqle import find_launch_target


@pytest.mark.usefixtures("cluster")
def test_jump_host_is_the_uqle_machine_or_else_the_head_node(project, ec2, cloudformation):
    cluster = stack.require_cluster(cloudformation, project.cluster)
    instance_id = stack.get_output(cluster, "HeadNodeInstanceID")
    [head_node] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    through_head_node = (f"ubuntu@{head_node['PublicIpAddress']}", "/shared")
    assert find_jump_host(ec2, cluster, "/data") == through_head_node
    image_id, target = uqle_instance.get_ubuntu_image_id(project.ssm), find_launch_target(project)
    settings = project.get_uqle_settings()
    uqle_id = uqle_instance.launch_instance(ec2, target, settings, image_id, "#!/bin/sh\n")
    address = uqle_instance.get_public_address(ec2, "pcluster-ubuntu")
    assert address != head_node["PublicIpAddress"]
    assert find_jump_host(ec2, cluster, "/data") == (f"ubuntu@{address}", "/data")
    ec2.stop_instances(InstanceIds=[uqle_id])
    assert find_jump_host(ec2, cluster, "/data") == through_head_node
