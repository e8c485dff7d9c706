"""What watches over a stack: alarms, dashboard, and who subscribes to the topic."""

from infra.local.adapter.site import Handler, Inputs, Made, Site, arn, given


def _alarm(site: Site, name: str, inputs: Inputs) -> Made:
    own = inputs["name"]
    site.aws("cloudwatch").put_metric_alarm(
        AlarmName=own,
        AlarmDescription=inputs["alarmDescription"],
        Namespace=inputs["namespace"],
        MetricName=inputs["metricName"],
        Dimensions=[
            {"Name": key, "Value": value} for key, value in inputs["dimensions"].items()
        ],
        Statistic=inputs["statistic"],
        Period=inputs["period"],
        EvaluationPeriods=inputs["evaluationPeriods"],
        DatapointsToAlarm=inputs["datapointsToAlarm"],
        Threshold=inputs["threshold"],
        ComparisonOperator=inputs["comparisonOperator"],
        TreatMissingData=inputs["treatMissingData"],
        **given(
            AlarmActions=inputs.get("alarmActions"), OKActions=inputs.get("okActions")
        ),
    )
    return own, {"arn": arn("cloudwatch", f"alarm:{own}"), "name": own}


def delete_alarm(site: Site, inputs: Inputs) -> bool:
    """Remove the alarm of a group that the config no longer has."""
    site.aws("cloudwatch").delete_alarms(AlarmNames=[inputs["name"]])
    return True


def _dashboard(site: Site, name: str, inputs: Inputs) -> Made:
    own = inputs["dashboardName"]
    site.aws("cloudwatch").put_dashboard(
        DashboardName=own, DashboardBody=inputs["dashboardBody"]
    )
    return own, {"dashboardArn": arn("cloudwatch", f"dashboard/{own}")}


def _subscription(site: Site, name: str, inputs: Inputs) -> Made:
    sns = site.aws("sns")
    topic, endpoint = inputs["topic"], inputs["endpoint"]
    known = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    for standing in known:
        if standing["Endpoint"] == endpoint:
            return standing["SubscriptionArn"], {"arn": standing["SubscriptionArn"]}
    made = sns.subscribe(
        TopicArn=topic,
        Protocol=inputs["protocol"],
        Endpoint=endpoint,
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    return made, {"arn": made}


HANDLERS: dict[str, Handler] = {
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:cloudwatch/dashboard:Dashboard": _dashboard,
    "aws:sns/topicSubscription:TopicSubscription": _subscription,
}
