"""Alert rules and dashboard: files that Prometheus and Grafana take. Whether the metrics exist is asked of the running
suite (tests/e2e/test_metrics.py)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.promql import DASHBOARD, RULES, expressions, metrics_in
from tests.unit.deploy.rendering import ROOT
from tests.unit.deploy.suite_table import MEMBERS

ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_the_names_of_metrics_are_found_in_expressions() -> None:
    expression = 'sum by (le, a) (rate(one_bucket{b="two{"}[5m])) / (three offset_is or vector(0)) > time()'
    assert metrics_in(expression) == {"one_bucket", "three", "offset_is"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do_is_in_the_guide(alert) -> None:
    assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    assert metrics_in(alert["expr"])
    assert f"| `{alert['alert']}` |" in (ROOT / "deploy" / "README.md").read_text()


def test_every_process_is_watched() -> None:
    (expression,) = [alert["expr"] for alert in ALERTS if alert["alert"] == "FastcmsProcessDown"]
    jobs = re.findall(r'job=~"([^"]+)"', expression)[0]
    assert all(re.fullmatch(jobs, name) for name in MEMBERS)


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert dashboard["uid"] == "fastcms"
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    covered = [
        (x, y)
        for one in places
        for x in range(one["x"], one["x"] + one["w"])
        for y in range(one["y"], one["y"] + one["h"])
    ]
    assert len(covered) == len(set(covered))
    for panel in panels:
        for target in panel.get("targets", ()):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_brackets_are_closed_in_every_expression() -> None:
    for where, expression in expressions().items():
        bare = re.sub(r'"[^"]*"', "", expression)
        for opening, closing in ("()", "{}", "[]"):
            assert bare.count(opening) == bare.count(closing), where


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not on the path")
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions().values())]
    panels = tmp_path / "panels.yaml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for file in (RULES, panels):
        checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=30)
        assert checked.returncode == 0, checked.stdout + checked.stderr
