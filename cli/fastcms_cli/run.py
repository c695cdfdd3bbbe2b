"""`fastcms run`: the whole suite, from the first process to the last."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import ExitStack, suppress

from fastcms_cli import readiness
from fastcms_cli.banner import banner
from fastcms_cli.config import BadStart, Settings
from fastcms_cli.console import Console
from fastcms_cli.data_folder import UNFINISHED, DataFolder
from fastcms_cli.ports import listen
from fastcms_cli.processes import Lifeline, Supervisor
from fastcms_cli.suite import plan

COMPLAIN_AFTER = 60.0
"""Seconds without a healthy answer after which the log says what is missing."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Run:
    """One run of the suite, in the main thread. Raises BadStart or Refused where it cannot be."""

    def __init__(self, settings: Settings) -> None:
        self._born = time.monotonic()
        self._settings = settings
        self._console = Console()
        self._stop = asyncio.Event()

    async def serve(self) -> None:
        """Run until a signal says stop; everything is gone when this returns, also when it raises."""
        with ExitStack() as stack:
            stack.callback(self._console.close)
            settings = self._settings
            listener = stack.enter_context(listen(settings.host, settings.port))
            self._folder = DataFolder(settings.data_dir)
            stack.callback(self._folder.close)
            if (self._folder.path / UNFINISHED).exists():
                raise BadStart(f"{self._folder.path} was not restored to the end: run fastcms restore again")
            port: int = listener.getsockname()[1]
            self._suite = plan(settings, self._folder, listener_fd=listener.fileno(), port=port)
            lifeline = Lifeline(held=(self._folder.lock_fd,))
            stack.callback(lifeline.close)
            self._supervisor = Supervisor(self._suite.specs, self._console, lifeline)
            self._listen_for_signals()
            # Closed first of all when stopping: a caller that comes then is turned away instead of left waiting.
            self._listener = listener
            announcing = asyncio.ensure_future(self._announce())
            try:
                await self._supervisor.run(self._stop, on_start=self._write_run_file)
            finally:
                announcing.cancel()
                with suppress(asyncio.CancelledError):
                    await announcing
            self._console.say("stopped")

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._asked_to_stop, number)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            self._console.say(f"{number.name} again: killing what is left")
            self._supervisor.hurry()
            return
        self._console.say(f"{number.name}: stopping (once more to be quick)")
        self._listener.close()
        self._stop.set()

    async def _announce(self) -> None:
        """Print the banner once the suite is healthy; say what is missing if that takes too long."""
        waiting = asyncio.ensure_future(readiness.ready(self._suite.base_url))
        try:
            await asyncio.wait_for(asyncio.shield(waiting), COMPLAIN_AFTER)
        except TimeoutError:
            await self._complain()
            await waiting
        finally:
            if not waiting.done():
                waiting.cancel()
        self._supervisor.settled = True
        self._write_run_file()
        dashboard = (await readiness.get(f"{self._suite.base_url}/admin")).ready
        seconds = time.monotonic() - self._born
        self._console.block(
            banner(self._settings, self._suite, self._folder.path, seconds=seconds, dashboard=dashboard)
        )

    async def _complain(self) -> None:
        answer = await readiness.get(f"{self._suite.base_url}/health/ready")
        down = [child.spec.name for child in self._supervisor.children if child.deaths or child.pid is None]
        dying = f"; died since the start: {', '.join(down)}" if down else ""
        self._console.say(f"not healthy after {COMPLAIN_AFTER:g} s: {answer.missing()}{dying}")

    def _write_run_file(self) -> None:
        suite = self._suite
        self._folder.write_run_file(
            {
                "pid": os.getpid(),
                "base_url": suite.base_url,
                "ready": self._supervisor.settled,
                "redis_url": suite.redis_url,
                "processes": {
                    child.spec.name: {
                        "pid": child.pid,
                        "deaths": child.deaths,
                        "listen": suite.addresses.get(child.spec.name),
                        "metrics": suite.metrics.get(child.spec.name),
                    }
                    for child in self._supervisor.children
                },
            }
        )
