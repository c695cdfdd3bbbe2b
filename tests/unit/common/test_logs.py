"""What logging costs each process of the suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastcms_cli.suite import GATEWAY, SERVICES, WORKER

PROCESSES = [
    member.module if "." in member.module else f"{member.module}.__main__" for member in (*SERVICES, WORKER, GATEWAY)
]


@pytest.mark.parametrize("module", PROCESSES)
def test_a_process_of_the_suite_does_not_load_rich(module: str) -> None:
    program = f"import sys, {module}; print(sum(name.partition('.')[0] == 'rich' for name in sys.modules))"

    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)

    assert found.stdout.strip() == "0", found.stderr


def test_rich_can_still_be_imported_after_logging() -> None:
    program = "import fastcms_common.logs, structlog.dev, rich.progress; print(structlog.dev.rich)"

    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)

    assert found.stdout.strip() == "None", found.stderr
