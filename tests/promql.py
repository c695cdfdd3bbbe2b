"""The expressions of the alert rules and the dashboard, and the metrics that they ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

OBSERVABILITY = Path(__file__).parents[1] / "deploy" / "observability"
RULES = OBSERVABILITY / "alerts.yaml"
DASHBOARD = OBSERVABILITY / "dashboard.json"

# What else may stand in an expression of ours: https://prometheus.io/docs/prometheus/latest/querying/
_WORDS = frozenset(
    (
        *("sum", "max", "min", "rate", "increase", "histogram_quantile", "topk", "absent", "vector", "time"),
        *("by", "and", "or", "on", "ignoring", "without"),
    )
)


def expressions() -> dict[str, str]:
    """By where it stands."""
    found = {
        rule["alert"]: rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    }
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"].replace("$__rate_interval", "5m")
    return found


def metrics_in(expression: str) -> set[str]:
    """The names of the metrics in a PromQL expression."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    # Labels: in matchers, and where values are grouped by them.
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    return set(re.findall(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b", bare)) - _WORDS


def labels_in(expression: str) -> set[tuple[str, str]]:
    """The labels that metrics are asked for, as (metric, label)."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    return {
        (metric, label)
        for metric, matchers in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}", bare)
        for label in re.findall(r"([a-z_]+)\s*[=!]", matchers)
    }
