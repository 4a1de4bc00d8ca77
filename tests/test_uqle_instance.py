import base64

import pytest
from botocore.exceptions import ClientError

from sandbox.small_cluster import make_cluster
from slurm_cluster.aws import uqle_instance
from slurm_cluster.errors import ClusterError
from slurm_cluster.steps.uqle import find_launch_target


@pytest.fixture
def place(cluster, project):
    return find_launch_target(project)


@pytest.fixture
def settings(project):
    return project.get_uqle_settings()


@pytest.fixture
def image(project):
    return uqle_instance.get_ubuntu_image_id(project.ec2, project.ssm, "t3.large")


def terminate(ec2, cluster, group):
    machines = uqle_instance.list_remaining_instances(ec2, cluster)
    return uqle_instance.terminate_instances(ec2, machines, group)


def instances(ec2):
    pages = ec2.describe_instances(Filters=[{"Name": "tag:slurm-cluster", "Values": ["*"]}])["Reservations"]
    return [instance for reservation in pages for instance in reservation["Instances"]]


def test_launch_target_is_next_to_the_head_node(place, cluster, network):
    assert (place.group_id, place.subnet_id, place.stack_id) == (
        cluster["group"],
        network["public"],
        cluster["stack"],
    )
    assert place.file_system_id.startswith("fs-")


def test_instance_matches_the_readme(ec2, place, settings, image):
    script = uqle_instance.render_user_data(place, "/shared")
    identifier = uqle_instance.launch_instance(ec2, place, settings, image, script)
    [instance] = instances(ec2)
    assert instance["InstanceId"] == identifier
    assert (instance["ImageId"], instance["InstanceType"], instance["KeyName"]) == (
        image,
        "t3.large",
        "pcluster-ubuntu",
    )
    assert instance["SubnetId"] == place.subnet_id
    assert [group["GroupId"] for nic in instance["NetworkInterfaces"] for group in nic["Groups"]] == [
        place.group_id
    ]
    assert instance["PublicIpAddress"].startswith("203.0.113.")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert {tag["Key"]: tag["Value"] for tag in instance["Tags"]} == {
        "Name": "pcluster-ubuntu-uqle",
        "slurm-cluster": "pcluster-ubuntu",
    }
    [volume] = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [identifier]}])[
        "Volumes"
    ]
    assert (volume["Encrypted"], volume["Size"]) == (True, 30)
    assert [device["Ebs"]["DeleteOnTermination"] for device in instance["BlockDeviceMappings"]] == [True]
    assert {"Key": "slurm-cluster", "Value": "pcluster-ubuntu"} in volume["Tags"]
    encoded = ec2.describe_instance_attribute(InstanceId=identifier, Attribute="userData")["UserData"][
        "Value"
    ]
    assert base64.b64decode(encoded).decode() == script


def test_user_data_names_file_system_and_mount_point(place):
    script = uqle_instance.render_user_data(place, "/data/shared")
    assert f"FILE_SYSTEM='{place.file_system_id}.efs.eu-west-2.amazonaws.com'" in script
    assert "MOUNT_POINT='/data/shared'" in script
    assert "{{" not in script
    assert all(package in script for package in ("nfs-common", "docker.io", "docker-compose-v2"))


def test_launching_twice_creates_one_instance(ec2, place, settings, image):
    script = uqle_instance.render_user_data(place, "/shared")
    first = uqle_instance.launch_instance(ec2, place, settings, image, script)
    assert uqle_instance.launch_instance(ec2, place, settings, image, script) == first
    assert len(instances(ec2)) == 1


def test_launch_with_a_lost_answer_is_found(ec2, place, settings, image):
    script = uqle_instance.render_user_data(place, "/shared")
    first = uqle_instance.launch_instance(ec2, place, settings, image, script)
    changed = settings._replace(instance_type="t3.xlarge")
    assert uqle_instance.launch_instance(ec2, place, changed, image, script) == first
    assert len(instances(ec2)) == 1


def test_launch_after_a_disconnect(ec2, place, settings, image):
    script = uqle_instance.render_user_data(place, "/shared")
    first = uqle_instance.launch_instance(ec2, place, settings, image, script)
    assert terminate(ec2, "pcluster-ubuntu", place.group_id) == [first]
    assert uqle_instance.read_used_token(ec2, place.group_id) == uqle_instance.make_client_token(place, "")
    assert terminate(ec2, "pcluster-ubuntu", place.group_id) == []
    second = uqle_instance.launch_instance(ec2, place, settings, image, script)
    assert second != first
    assert uqle_instance.find_instance(ec2, "pcluster-ubuntu")["InstanceId"] == second


def test_launch_after_a_termination_in_the_console(ec2, place, settings, image):
    script = uqle_instance.render_user_data(place, "/shared")
    first = uqle_instance.launch_instance(ec2, place, settings, image, script)
    ec2.terminate_instances(InstanceIds=[first])
    assert uqle_instance.launch_instance(ec2, place, settings, image, script) != first


def test_recreated_cluster_has_other_tokens(place):
    assert uqle_instance.make_client_token(place, "") != uqle_instance.make_client_token(
        place._replace(stack_id="another stack"), ""
    )


def test_other_errors_of_ec2_are_raised(ec2, place, settings, image):
    with pytest.raises(ClientError, match="InvalidKeyPair.NotFound"):
        uqle_instance.launch_instance(ec2, place, settings._replace(key_pair="nobodys"), image, "")


def test_differences_from_the_settings_are_listed(ec2, place, settings, image):
    script = uqle_instance.render_user_data(place, "/shared")
    uqle_instance.launch_instance(ec2, place, settings, image, script)
    instance = uqle_instance.find_instance(ec2, "pcluster-ubuntu")
    assert uqle_instance.list_differences(ec2, instance, place, settings, script) == []
    changed, other = (
        settings._replace(instance_type="m6i.large"),
        uqle_instance.render_user_data(place, "/other"),
    )
    assert uqle_instance.list_differences(ec2, instance, place, changed, other) == [
        "its type is t3.large, not m6i.large",
        "its boot script or its mount point is different",
    ]


def test_two_clusters_in_one_vpc_have_separate_machines(
    ec2, cloudformation, network, place, project, settings, image
):
    make_cluster("second", network, cloudformation)
    other = place._replace(cluster_name="second", stack_id="another stack")
    script = uqle_instance.render_user_data(place, "/shared")
    first = uqle_instance.launch_instance(ec2, place, settings, image, script)
    second = uqle_instance.launch_instance(ec2, other, settings, image, script)
    assert uqle_instance.find_instance(ec2, "pcluster-ubuntu")["InstanceId"] == first
    assert terminate(ec2, "second", None) == [second]
    assert uqle_instance.find_instance(ec2, "pcluster-ubuntu")["InstanceId"] == first


def test_two_tagged_instances_are_named(ec2, place, settings, image):
    first = uqle_instance.launch_instance(ec2, place, settings, image, "")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "slurm-cluster", "Value": "pcluster-ubuntu"}]}]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)["Instances"][0][
        "InstanceId"
    ]
    with pytest.raises(ClusterError) as error:
        uqle_instance.find_instance(ec2, "pcluster-ubuntu")
    assert first in str(error.value)
    assert made in str(error.value)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"instance_type": "huge"}, "uqle.instance_type is 'huge'"),
        ({"volume_gib": "many"}, "uqle.volume_gib is 'many'"),
        ({"volume_gib": 4}, "uqle.volume_gib is 4"),
        ({"mount_point": "/etc"}, "uqle.mount_point is '/etc', which belongs to the system"),
        ({"mount_point": "/usr/local/shared"}, "belongs to the system"),
        ({"mount_point": "/mnt"}, "belongs to the system"),
        ({"mount_point": "/home/ubuntu"}, "belongs to the system"),
        ({"mount_point": "/"}, "uqle.mount_point is '/'"),
        ({"mount_point": "shared"}, "uqle.mount_point is 'shared'"),
        ({"mount_point": "/a'; rm -rf /"}, "uqle.mount_point is"),
        ({"mount_point": "/a/../etc"}, "uqle.mount_point is"),
    ],
)
def test_invalid_settings_are_named(changed, named):
    settings = {
        "instance_type": "t3.large",
        "volume_gib": 30,
        "mount_point": "/shared",
        "key_pair": "k",
    } | changed
    with pytest.raises(ClusterError, match=named):
        uqle_instance.validate_settings(**settings)


def test_mistyped_instance_type_is_reported(project):
    with pytest.raises(
        ClusterError, match="uqle.instance_type is t3.larg, which eu-west-2 does not have"
    ) as error:
        uqle_instance.get_ubuntu_image_id(project.ec2, project.ssm, "t3.larg")
    assert str(error.value).endswith("Correct it in invoke.yaml, or in INVOKE_UQLE_INSTANCE_TYPE.")


def test_image_fits_the_processor_of_the_instance_type(project):
    for instance_type, architecture in ("t3.large", "x86_64"), ("t4g.large", "arm64"):
        image = uqle_instance.get_ubuntu_image_id(project.ec2, project.ssm, instance_type)
        assert project.ec2.describe_images(ImageIds=[image])["Images"][0]["Architecture"] == architecture
