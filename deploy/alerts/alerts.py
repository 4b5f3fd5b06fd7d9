"""Alerts by e-mail, Slack and Teams. Put this file into a project's `defs` folder: it makes a sensor for each way that
the environment describes, switched on. Needs dagster-slack and dagster-msteams for those two.

Secrets stay in the environment: in no definition, message or error.
"""

import json
import os
from collections.abc import Callable

import dagster as dg

SEND_EVERY_SECONDS = 60
ON = dg.DefaultSensorStatus.RUNNING


def text_of(context: dg.RunFailureSensorContext) -> str:
    """What failed, of which partitions, and what the failing steps said."""
    run = context.dagster_run
    first = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start")
    last = run.tags.get("dagster/asset_partition_range_end", first)
    of = "" if first is None else f" of {first}" if first == last else f" of {first} to {last}"
    lines = [f"Scoring {run.job_name} failed{of} (run {run.run_id})."]
    for event in context.get_step_failure_events():
        failure = event.step_failure_data
        said = failure.user_failure_data.description if failure.user_failure_data is not None else None
        lines.append(f"{event.step_key}: {said or (failure.error.message if failure.error else event.message)}")
    return "\n".join(lines if len(lines) > 1 else [*lines, context.failure_event.message or ""])


def by_email() -> dg.SensorDefinition:
    return dg.make_email_on_run_failure_sensor(
        email_from=os.environ["ALERT_EMAIL_FROM"],
        email_password=os.environ["ALERT_EMAIL_PASSWORD"],
        email_to=os.environ["ALERT_EMAIL_TO"].split(","),
        email_body_fn=lambda context: text_of(context).replace("\n", "<br>"),
        email_subject_fn=lambda context: f"Scoring {context.dagster_run.job_name} failed",
        smtp_host=os.environ["ALERT_SMTP_HOST"],
        smtp_port=int(os.environ.get("ALERT_SMTP_PORT", "465")),
        webserver_base_url=os.environ.get("DAGSTER_URL"),
        name="email_on_failure",
        default_status=ON,
    )


def by_slack() -> dg.SensorDefinition:
    from dagster_slack import make_slack_on_run_failure_sensor

    return make_slack_on_run_failure_sensor(
        channel=os.environ["ALERT_SLACK_CHANNEL"],
        slack_token=os.environ["ALERT_SLACK_TOKEN"],
        text_fn=text_of,
        webserver_base_url=os.environ.get("DAGSTER_URL"),
        name="slack_on_failure",
        default_status=ON,
    )


def send_to_teams(text: str) -> None:
    """Post through dagster-msteams. Its URL signs in by itself, and an error of HTTP quotes it: so none gets out."""
    from dagster_msteams import MSTeamsResource
    from dagster_msteams.adaptive_card import AdaptiveCard

    card = AdaptiveCard()
    card.add_attachment(text)
    try:
        MSTeamsResource(hook_url=os.environ["ALERT_TEAMS_URL"], timeout=20).get_client().post_message(card.payload)
    except Exception as error:  # noqa: BLE001 - whatever it is, it may quote the URL
        raise RuntimeError(f"Teams did not take the message ({type(error).__name__}): check ALERT_TEAMS_URL") from None


def by_teams() -> dg.SensorDefinition:
    @dg.run_failure_sensor(name="teams_on_failure", default_status=ON)
    def teams_on_failure(context: dg.RunFailureSensorContext) -> None:
        link = (
            f"\n\n{os.environ['DAGSTER_URL']}/runs/{context.dagster_run.run_id}" if "DAGSTER_URL" in os.environ else ""
        )
        send_to_teams(text_of(context) + link)

    return teams_on_failure


def send_to_slack(text: str) -> None:
    from dagster_slack import SlackResource

    client = SlackResource(token=os.environ["ALERT_SLACK_TOKEN"]).get_client()
    client.chat_postMessage(channel=os.environ["ALERT_SLACK_CHANNEL"], text=text)


def on_staleness(name: str, send: Callable[[str], None]) -> dg.SensorDefinition:
    """Tells when Dagster's freshness check of a scoring with `fresh_by` finds the newest partition missing."""

    @dg.sensor(name=name, minimum_interval_seconds=SEND_EVERY_SECONDS, default_status=ON)
    def stale(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        assert context.repository_def is not None
        told = set(json.loads(context.cursor or "[]"))
        late = {}
        for check in context.repository_def.asset_graph.asset_check_keys:
            if check.name == "freshness_check":
                record = context.instance.get_latest_asset_check_evaluation_record(check)
                evaluation = record and record.event and record.event.asset_check_evaluation
                if evaluation and not evaluation.passed:
                    late[check.asset_key.to_user_string()] = evaluation.description or ""
        for asset in sorted(late.keys() - told):
            send(f"{asset} is late. {late[asset]}")
        # Told once for as long as it is late, and again the next time.
        context.update_cursor(json.dumps(sorted(late)))
        return dg.SkipReason(f"late: {', '.join(sorted(late)) or 'nothing'}")

    return stale


@dg.definitions
def alerts() -> dg.Definitions:
    sensors = []
    if "ALERT_EMAIL_FROM" in os.environ:
        sensors.append(by_email())
    if "ALERT_SLACK_TOKEN" in os.environ:
        sensors += [by_slack(), on_staleness("slack_on_staleness", send_to_slack)]
    if "ALERT_TEAMS_URL" in os.environ:
        sensors += [by_teams(), on_staleness("teams_on_staleness", send_to_teams)]
    return dg.Definitions(sensors=sensors)
