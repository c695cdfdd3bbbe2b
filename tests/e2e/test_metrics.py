"""What the running suite tells Prometheus, and that rules, dashboard and guide ask for nothing else."""

from __future__ import annotations

import re

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fastcms_common.redis_keys import AUDIT_EVENTS, COLLECTION_EVENTS, MAIL_REQUESTS
from tests.promql import expressions, labels_in, metrics_in
from tests.suite import Suite, wait_until

# Of Prometheus's own making.
_ITS_OWN = {"up"}
_ITS_LABELS = {"job", "instance"}


def families(suite: Suite, *processes: str) -> dict[str, Metric]:
    """The metrics of these processes, or of all, by name."""
    found: dict[str, Metric] = {}
    for name, process in suite.run_info()["processes"].items():
        if process["metrics"] and (not processes or name in processes):
            text = httpx.get(f"http://{process['metrics']}/metrics", trust_env=False, timeout=5).text
            for family in text_string_to_metric_families(text):
                found.setdefault(family.name, family).samples.extend(family.samples)
    return found


def value(suite: Suite, process: str, name: str, **labels: str) -> float | None:
    """A sample of a process; None where it has none."""
    family = name.removesuffix("_total")
    samples = families(suite, process).get(family, Metric(family, "", "gauge")).samples
    return next((one.value for one in samples if one.name == name and one.labels == labels), None)


@pytest.fixture(scope="module")
def exposed(suite: Suite, admin_client: httpx.Client) -> dict[str, Metric]:
    """All families, once some requests, a sign-in and a job have been seen."""
    assert admin_client.get("/api/v1/auth/me").status_code == 200
    assert admin_client.post("/api/v1/admin/cron/cleanup_expired_tokens/trigger").is_success
    wait_until(lambda: families(suite, "scheduler-worker")["fastcms_runs"].samples, "a job has run")
    wait_until(lambda: families(suite, "gateway")["fastcms_http_requests"].samples, "requests are counted")
    return families(suite)


@pytest.mark.parametrize("where", expressions())
def test_what_is_asked_for_is_told(where: str, exposed: dict[str, Metric]) -> None:
    # A histogram's, a counter's and a gauge's names, whether or not there is a sample yet.
    told = {name + suffix for name in exposed for suffix in ("", "_total", "_bucket", "_count", "_sum")} | _ITS_OWN
    expression = expressions()[where]
    assert metrics_in(expression) - told == set()
    for metric, label in labels_in(expression):
        family = exposed.get(re.sub(r"_(total|bucket|count|sum)$", "", metric)) or exposed.get(metric)
        if label not in _ITS_LABELS and family is not None and family.samples:
            assert any(label in one.labels for one in family.samples), f"{metric} has no {label}"


def test_every_rpc_has_the_four_golden_signals(suite: Suite, exposed: dict[str, Metric]) -> None:
    """Latency, traffic, errors and saturation: https://sre.google/sre-book/monitoring-distributed-systems/."""
    rpc = "fastcms.auth.v1.AuthService/GetMe"
    counts = {one.labels["code"] for one in exposed["fastcms_rpcs"].samples if one.labels["rpc"] == rpc}
    assert "OK" in counts
    assert {"fastcms_rpc_seconds_bucket", "fastcms_rpc_seconds_count"} <= {
        one.name for one in exposed["fastcms_rpc_seconds"].samples if one.labels["rpc"] == rpc
    }
    assert value(suite, "auth-service", "fastcms_rpcs_in_flight", rpc=rpc) == 0


def test_lengths_of_queues_are_told_by_who_owns_them(suite: Suite) -> None:
    streams = {"auth-service": (COLLECTION_EVENTS, MAIL_REQUESTS), "admin-service": (AUDIT_EVENTS,)}
    for process, names in streams.items():
        for name in names:
            for metric in ("fastcms_stream_events", "fastcms_stream_oldest_seconds", "fastcms_stream_refused_events"):
                assert value(suite, process, metric, stream=name) is not None
    for metric in ("fastcms_queue_messages", "fastcms_queue_taken_messages"):
        assert value(suite, "scheduler-service", metric) is not None
    for metric in ("auth_sessions", "auth_pending_mails", "auth_lockouts_total"):
        assert value(suite, "auth-service", metric) is not None
