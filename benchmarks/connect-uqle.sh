#!/bin/bash
# Connect a UQLE machine with the aws command line. The benchmark compares `invoke connect-uqle` with this script.
# It makes only the necessary calls: it reads nothing twice, and does not check whether a step is already done.
#
# usage: connect-uqle.sh CLUSTER KEY_PAIR USER_DATA
#   USER_DATA: the boot script of the UQLE machine
set -o errexit -o nounset -o pipefail

cluster=$1 key_pair=$2 script=$3
region=${AWS_DEFAULT_REGION:?}

read -r file_system head_node < <(aws cloudformation describe-stacks --stack-name "$cluster" --output text \
  --query "Stacks[0].[Outputs[?OutputKey=='EFSIds'].OutputValue|[0], Outputs[?OutputKey=='HeadNodeInstanceID'].OutputValue|[0]]")
group=$(aws cloudformation describe-stack-resource --stack-name "$cluster" --logical-resource-id HeadNodeSecurityGroup \
  --query StackResourceDetail.PhysicalResourceId --output text)
aws ec2 authorize-security-group-ingress --group-id "$group" --protocol all --source-group "$group" >/dev/null

subnet=$(aws ec2 describe-instances --instance-ids "$head_node" --query 'Reservations[0].Instances[0].SubnetId' --output text)
image=$(aws ssm get-parameter --query Parameter.Value --output text \
  --name /aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id)
user_data=$(sed -e "s|{{{ FILE_SYSTEM }}}|$file_system.efs.$region.amazonaws.com|" -e "s|{{{ MOUNT_POINT }}}|/shared|" "$script")
tags="[{Key=Name,Value=$cluster-uqle},{Key=slurm-cluster,Value=$cluster}]"
instance=$(aws ec2 run-instances --image-id "$image" --instance-type t3.large --key-name "$key_pair" --user-data "$user_data" \
  --network-interfaces "DeviceIndex=0,SubnetId=$subnet,Groups=$group,AssociatePublicIpAddress=true,DeleteOnTermination=true" \
  --block-device-mappings 'DeviceName=/dev/sda1,Ebs={VolumeSize=30,VolumeType=gp3,Encrypted=true,DeleteOnTermination=true}' \
  --metadata-options HttpTokens=required,HttpEndpoint=enabled,HttpPutResponseHopLimit=2 \
  --tag-specifications "ResourceType=instance,Tags=$tags" "ResourceType=volume,Tags=$tags" \
  --query 'Instances[0].InstanceId' --output text)
aws ec2 wait instance-running --instance-ids "$instance"
aws ec2 describe-instances --instance-ids "$instance" --query 'Reservations[0].Instances[0].PublicIpAddress' --output text
