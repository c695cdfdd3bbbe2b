"""Plumbing that every FastCMS process shares. No product noun lives here."""

import sys

# redis-py loads OpenTelemetry's SDK wherever it finds it: three MiB in each process, for metrics that nobody has asked
# for. While this stands here an import says that there is none; `tracing.allow_sdk` takes it away.
sys.modules.setdefault("opentelemetry.sdk", None)  # type: ignore[arg-type]
