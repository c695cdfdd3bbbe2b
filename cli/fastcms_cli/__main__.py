"""The `fastcms` command."""

from __future__ import annotations

import asyncio

import typer

from fastcms_cli.config import BadStart, Settings
from fastcms_cli.processes import Refused
from fastcms_cli.run import Run
from fastcms_common.settings import load, stop

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def fastcms() -> None:
    """FastCMS: a content backend made of services."""


@app.command()
def run() -> None:
    """Run the whole suite on this machine: gateway, services, job worker, and a private Redis.

    The environment configures it.

    \b
    FASTCMS_HOST        address of the gateway (127.0.0.1)
    FASTCMS_PORT        its port (8000; 0 takes a free one)
    FASTCMS_DATA_DIR    everything that the run stores (.data)
    ADMIN_EMAIL, ADMIN_PASSWORD
                        make the first admin
    STORAGE_URL         mongodb://… (SQLite files in the data folder)
    REDIS_URL           redis://… (a private server)
    SMTP_URL            smtp://… (mails are written to outbox/ in the data folder)
    APP_URL             what links in mails begin with (the gateway's address)
    GATEWAY_WORKERS     processes of the gateway (1)
    TRUSTED_PROXIES     networks whose X-Forwarded-For counts (none)
    SETUP_TOKEN         asked of whoever registers the first admin

    Ctrl-C stops it; what it stored is there at the next start. Exit code 2 says that it could not start as asked.
    """
    try:
        asyncio.run(_serve())
    except (BadStart, Refused) as reason:
        stop(str(reason))


async def _serve() -> None:
    await Run(load(Settings)).serve()


def main() -> None:
    app(prog_name="fastcms")


if __name__ == "__main__":
    main()
