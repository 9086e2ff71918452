"""Deploys a template on an emulator and prints what came of it.

    python deploy_stack.py ENDPOINT TEMPLATE
"""

import ast
import json
import sys

import boto3


def main(endpoint, template):
    session = boto3.Session(aws_access_key_id="emulator", aws_secret_access_key="emulator", region_name="eu-west-1")
    client = lambda name: session.client(name, endpoint_url=endpoint)
    cloudformation = client("cloudformation")
    with open(template, encoding="utf-8") as file:
        body = file.read()
    cloudformation.create_stack(
        StackName="sealift-prod",
        TemplateBody=body,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": "Operators", "ParameterValue": "arn:aws:iam::123456789012:role/ci"}],
    )
    stack = cloudformation.describe_stacks(StackName="sealift-prod")["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    iam, s3, iot = client("iam"), client("s3"), client("iot")
    roles = {}
    for name in ["publisher", "reconciler", "checker", "registrar", "presign"]:
        role = f"sealift-prod-{name}"
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            roles[role] = document(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
    device = iot.get_policy(policyName="sealift-prod-device")["policyDocument"]
    # What the emulator's CloudFormation leaves out of a bucket is set as the template says it.
    wanted = json.loads(body)["Resources"]["Bucket"]["Properties"]
    bucket = wanted["BucketName"]
    s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=wanted["PublicAccessBlockConfiguration"]
    )
    rules = [
        {("ID" if key == "Id" else key): value for key, value in rule.items() if key != "Prefix"}
        | {"Filter": {"Prefix": rule["Prefix"]}}
        for rule in wanted["LifecycleConfiguration"]["Rules"]
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=wanted["VersioningConfiguration"])
    encryption = [
        {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
        for rule in wanted["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    ]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": encryption})
    try:
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    except s3.exceptions.ClientError:
        # moto's CloudFormation has no AWS::S3::BucketPolicy: the document is put as the template resolves it.
        text = json.dumps(json.loads(body)["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"])
        policy = resolve(json.loads(text))
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    device = document(device)
    print(json.dumps({"outputs": outputs, "roles": roles, "device": device, "bucketPolicy": policy}))


def document(policy):
    """The emulator keeps what its CloudFormation made as Python writes it, not as JSON."""
    return policy if isinstance(policy, dict) else ast.literal_eval(policy)


def resolve(value):
    if isinstance(value, dict) and list(value) == ["Fn::Sub"]:
        text = value["Fn::Sub"].replace("${AWS::Partition}", "aws").replace("${AWS::AccountId}", "123456789012")
        return text.replace("${AWS::Region}", "eu-west-1").replace("${!", "${")
    if isinstance(value, dict):
        return {key: resolve(one) for key, one in value.items()}
    if isinstance(value, list):
        return [resolve(one) for one in value]
    return value


main(*sys.argv[1:])
