"""The lake and what carries its events: S3, SNS, SQS."""

import json
from typing import Any

from infra.local.adapter.site import Handler, Inputs, Made, Site, arn
from infra.local.parts import AWS_REGION


def _bucket(site: Site, name: str, inputs: Inputs) -> Made:
    s3 = site.aws("s3")
    own = inputs["bucket"]
    try:
        s3.create_bucket(
            Bucket=own, CreateBucketConfiguration={"LocationConstraint": AWS_REGION}
        )
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass  # its content stays
    s3.put_bucket_tagging(Bucket=own, Tagging={"TagSet": site.tag_list(inputs)})
    return own, {
        "arn": f"arn:aws:s3:::{own}",
        "bucket": own,
        "bucketRegionalDomainName": f"{own}.s3.{AWS_REGION}.amazonaws.com",
    }


def _encryption(site: Site, name: str, inputs: Inputs) -> Made:
    site.aws("s3").put_bucket_encryption(
        Bucket=inputs["bucket"],
        ServerSideEncryptionConfiguration={
            "Rules": [_encryption_rule(rule) for rule in inputs["rules"]]
        },
    )
    return inputs["bucket"], {}


def _encryption_rule(rule: Inputs) -> dict[str, Any]:
    default = rule["applyServerSideEncryptionByDefault"]
    return {
        "ApplyServerSideEncryptionByDefault": {
            "SSEAlgorithm": default["sseAlgorithm"],
            "KMSMasterKeyID": default["kmsMasterKeyId"],
        },
        "BucketKeyEnabled": rule.get("bucketKeyEnabled", False),
    }


def _versioning(site: Site, name: str, inputs: Inputs) -> Made:
    status = inputs["versioningConfiguration"]["status"]
    site.aws("s3").put_bucket_versioning(
        Bucket=inputs["bucket"], VersioningConfiguration={"Status": status}
    )
    return inputs["bucket"], {}


def _public_access_block(site: Site, name: str, inputs: Inputs) -> Made:
    options = (
        "blockPublicAcls",
        "blockPublicPolicy",
        "ignorePublicAcls",
        "restrictPublicBuckets",
    )
    site.aws("s3").put_public_access_block(
        Bucket=inputs["bucket"],
        PublicAccessBlockConfiguration={
            option[0].upper() + option[1:]: inputs.get(option, False)
            for option in options
        },
    )
    return inputs["bucket"], {}


def _ownership(site: Site, name: str, inputs: Inputs) -> Made:
    rule = {"ObjectOwnership": inputs["rule"]["objectOwnership"]}
    site.aws("s3").put_bucket_ownership_controls(
        Bucket=inputs["bucket"], OwnershipControls={"Rules": [rule]}
    )
    return inputs["bucket"], {}


def _lifecycle(site: Site, name: str, inputs: Inputs) -> Made:
    site.aws("s3").put_bucket_lifecycle_configuration(
        Bucket=inputs["bucket"],
        LifecycleConfiguration={
            "Rules": [_lifecycle_rule(rule) for rule in inputs["rules"]]
        },
    )
    return inputs["bucket"], {}


# boto3's name and the provider's name of each action and its one number.
_ACTIONS = {
    "Expiration": ("expiration", "Days", "days"),
    "NoncurrentVersionExpiration": (
        "noncurrentVersionExpiration",
        "NoncurrentDays",
        "noncurrentDays",
    ),
    "AbortIncompleteMultipartUpload": (
        "abortIncompleteMultipartUpload",
        "DaysAfterInitiation",
        "daysAfterInitiation",
    ),
}


def _lifecycle_rule(rule: Inputs) -> dict[str, Any]:
    rendered = {
        "ID": rule["id"],
        "Status": rule["status"],
        "Filter": {"Prefix": (rule.get("filter") or {}).get("prefix", "")},
    }
    for action, (key, days, source) in _ACTIONS.items():
        if days_given := (rule.get(key) or {}).get(source):
            rendered[action] = {days: days_given}
    if (rule.get("expiration") or {}).get("expiredObjectDeleteMarker"):
        rendered["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    return rendered


def _bucket_policy(site: Site, name: str, inputs: Inputs) -> Made:
    site.aws("s3").put_bucket_policy(Bucket=inputs["bucket"], Policy=inputs["policy"])
    return inputs["bucket"], {}


def _notification(site: Site, name: str, inputs: Inputs) -> Made:
    site.aws("s3").put_bucket_notification_configuration(
        Bucket=inputs["bucket"],
        NotificationConfiguration={
            "TopicConfigurations": [
                {
                    "Id": topic["id"],
                    "TopicArn": topic["topicArn"],
                    "Events": topic["events"],
                    "Filter": {"Key": {"FilterRules": _filters(topic)}},
                }
                for topic in inputs["topics"]
            ]
        },
    )
    return inputs["bucket"], {}


def _filters(topic: Inputs) -> list[dict[str, str]]:
    return [
        {"Name": kind, "Value": topic[key]}
        for kind, key in (("prefix", "filterPrefix"), ("suffix", "filterSuffix"))
        if topic.get(key)
    ]


def _topic(site: Site, name: str, inputs: Inputs) -> Made:
    sns = site.aws("sns")
    own = sns.create_topic(Name=inputs["name"], Tags=site.tag_list(inputs))["TopicArn"]
    if key := inputs.get("kmsMasterKeyId"):
        sns.set_topic_attributes(
            TopicArn=own, AttributeName="KmsMasterKeyId", AttributeValue=key
        )
    return own, {"arn": own, "name": inputs["name"]}


def _topic_policy(site: Site, name: str, inputs: Inputs) -> Made:
    site.aws("sns").set_topic_attributes(
        TopicArn=inputs["arn"], AttributeName="Policy", AttributeValue=inputs["policy"]
    )
    return inputs["arn"], {}


# The provider's names of the queue attributes; SQS wants all values as text.
_QUEUE_ATTRIBUTES = {
    "delaySeconds": "DelaySeconds",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "redriveAllowPolicy": "RedriveAllowPolicy",
    "redrivePolicy": "RedrivePolicy",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
}


def _queue(site: Site, name: str, inputs: Inputs) -> Made:
    sqs = site.aws("sqs")
    attributes = {
        attribute: _text(inputs[key])
        for key, attribute in _QUEUE_ATTRIBUTES.items()
        if inputs.get(key) is not None
    }
    tags = {tag["Key"]: tag["Value"] for tag in site.tag_list(inputs)}
    try:
        url = sqs.get_queue_url(QueueName=inputs["name"])["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        url = sqs.create_queue(
            QueueName=inputs["name"], Attributes=attributes, tags=tags
        )["QueueUrl"]
    else:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    return url, {"arn": arn("sqs", inputs["name"]), "url": url, "name": inputs["name"]}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _queue_policy(site: Site, name: str, inputs: Inputs) -> Made:
    site.aws("sqs").set_queue_attributes(
        QueueUrl=inputs["queueUrl"], Attributes={"Policy": inputs["policy"]}
    )
    return inputs["queueUrl"], {}


def _of_bucket(resource: str) -> str:
    return f"aws:s3/bucket{resource}:Bucket{resource}"


HANDLERS: dict[str, Handler] = {
    "aws:s3/bucket:Bucket": _bucket,
    _of_bucket("ServerSideEncryptionConfiguration"): _encryption,
    _of_bucket("Versioning"): _versioning,
    _of_bucket("PublicAccessBlock"): _public_access_block,
    _of_bucket("OwnershipControls"): _ownership,
    _of_bucket("LifecycleConfiguration"): _lifecycle,
    _of_bucket("Policy"): _bucket_policy,
    _of_bucket("Notification"): _notification,
    "aws:sns/topic:Topic": _topic,
    "aws:sns/topicPolicy:TopicPolicy": _topic_policy,
    "aws:sqs/queue:Queue": _queue,
    "aws:sqs/queuePolicy:QueuePolicy": _queue_policy,
}
