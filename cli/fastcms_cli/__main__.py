"""The `fastcms` command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fastcms_cli.config import BadStart, Settings
from fastcms_cli.deployment import Deployment, Failed
from fastcms_cli.processes import Refused
from fastcms_cli.run import Run
from fastcms_common.errors import DomainError
from fastcms_common.settings import load, stop

ENVIRONMENT = """\b
Environment, as the suite itself has it (NAME_FILE names a file with the value):
FASTCMS_DATA_DIR    data folder of `fastcms run` (.data)
STORAGE_URL         mongodb://… or sqlite:… (SQLite files in the data folder);
                    STORAGE_URL_AUTH, _COLLECTIONS, _ADMIN, _SCHEDULER where the services' differ
REDIS_URL           redis://… (the private one of the data folder)
MASTER_KEY_FILE, SERVICE_KEY_FILE
                    the keys (in the data folder)
"""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Url = Annotated[str | None, typer.Option("--url", help="Address of the gateway. Default: APP_URL, or the local run's.")]
Email = Annotated[str | None, typer.Option("--email", help="The admin to sign in as. Or set FASTCMS_TOKEN.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="File whose first line is the password; - is standard input. Default: ask."),
]
Format = Annotated[str | None, typer.Option("--format", help="ndjson or csv. Default: by the name of the file.")]


@contextmanager
def failing() -> Iterator[None]:
    """What cannot be done ends the command with one line and exit code 2."""
    try:
        yield
    except (BadStart, Refused, Failed, DomainError) as reason:
        stop(str(reason))


@app.callback()
def fastcms() -> None:
    """FastCMS: a content backend made of services.

    Exit codes: 0 done; 1 done, and the answer is bad news (a broken audit log, records refused); 2 not done, and one
    line says why.
    """


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
    with failing():
        asyncio.run(_serve())


@app.command("create-admin", epilog=ENVIRONMENT)
def create_admin(
    email: Annotated[str, typer.Argument(help="Address of the superadmin.")],
    name: Annotated[str | None, typer.Option(help="Name to show.")] = None,
    password_file: PasswordFile = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Make an account that exists usable again, as a superadmin.")
    ] = False,
) -> None:
    """Make a superadmin, whether or not the suite is running and whether or not there is one.

    With --recover an account that exists gets a new password, is enabled, becomes a superadmin, and loses its second
    factor, its lock and all its sessions. The audit log tells of it.
    """
    from fastcms_cli import maintenance
    from fastcms_cli.secrets_input import password

    with failing():
        deployment = load(Deployment)
        given = password(password_file, f"New password of {email}", twice=True)
        with deployment.redis() as redis_url:
            asked = {"email": email, "password": given, "name": name, "recover": recover}
            made = maintenance.call(deployment, redis_url, "auth_service", "create-admin", **asked)
    print(f"{made['email']} is a superadmin (id {made['id']})")


@app.command(epilog=ENVIRONMENT)
def unlock(email: Annotated[str, typer.Argument(help="Whose lock to open.")]) -> None:
    """Open the lock that wrong passwords have put on an account.

    Works without signing in, for the only admin may be the one who is locked out; among built-in users and members of
    all collections. The audit log tells of it.
    """
    from fastcms_cli import maintenance

    with failing():
        deployment = load(Deployment)
        with deployment.redis() as redis_url:
            opened = maintenance.call(deployment, redis_url, "auth_service", "unlock", email=email)["opened"]
    print(f"{email} was {'locked and is open now' if opened else 'not locked; its failures are forgotten'}")


class Key(StrEnum):
    """The keys that can be exchanged."""

    SIGNING = "signing"
    MASTER = "master"
    SERVICE = "service"


@app.command("rotate-keys", epilog=ENVIRONMENT)
def rotate_keys(
    key: Annotated[Key, typer.Argument(help="Which key.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="End the former key at once: sessions that it made cannot be refreshed.")
    ] = False,
) -> None:
    """Exchange a key without losing anything.

    \b
    signing   makes the next key for access tokens; running replicas pick it up
    master    seals signing keys, second factors, OAuth secrets, waiting mails anew
    service   seals settings and secrets of jobs anew, signs audit checkpoints anew

    In a data folder master and service are one step, with the suite stopped; the former key stays good, for tokens of
    sessions that it made, until --forget. In a deployment the key file has two lines first, the new key above the old
    one: deploy/README.md, Secrets.
    """
    from fastcms_cli import rotation

    with failing():
        deployment = load(Deployment)
        print(
            rotation.signing(deployment)
            if key is Key.SIGNING
            else rotation.exchange(deployment, key.value, forget=forget)
        )


@app.command(epilog=ENVIRONMENT)
def backup(
    to: Annotated[Path, typer.Argument(help="The archive to write, such as fastcms.tar.gz.")],
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave the keys of a bare run out: keep them elsewhere.")
    ] = False,
    without_snapshot: Annotated[
        bool,
        typer.Option("--without-snapshot", help="Also from a MongoDB that is no replica set. Stop the suite before."),
    ] = False,
) -> None:
    """Copy everything that a suite has into one file, while it runs.

    Databases, events that are under way, mails and exports; of a bare run the keys too, without which second factors,
    the secrets of OAuth providers and signing keys cannot be read: whoever has the file has everything. Sessions are
    not in it: after a restore everybody signs in again.
    """
    from fastcms_cli.backup import backup as make

    with failing():
        done = make(load(Deployment), to, fuzzy=without_snapshot, keys=not without_keys)
    print(f"{done.path}: {done.size:,} bytes")
    if not done.keys_inside:
        print("The keys are not inside: keep MASTER_KEY_FILE and SERVICE_KEY_FILE elsewhere, a restore needs them.")
    if not done.consistent:
        print("Not of one moment: what was written meanwhile may be there in part.")


@app.command(epilog=ENVIRONMENT)
def restore(
    source: Annotated[Path, typer.Argument(help="The archive.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Put it in the place of what is there. SQLite files are kept under replaced-…/."),
    ] = False,
) -> None:
    """Put a backup back, into an empty data folder or empty databases, with the suite stopped.

    All checksums are verified before anything is touched.
    """
    from fastcms_cli.restore import restore as put

    with failing():
        manifest = put(load(Deployment), source, force=force).manifest
    print(f"Restored what fastcms {manifest['fastcms']} had on {manifest['created']}. Everybody signs in again.")


@app.command("verify-audit")
def verify_audit(url: Url = None, email: Email = None, password_file: PasswordFile = None) -> None:
    """Check the hash chain of the audit log, through the API. Exit code 1: somebody has altered it."""
    from fastcms_cli.api import checked, signed_in

    with failing(), signed_in(load(Deployment), url, email, password_file) as client:
        found = checked(client.get("/audit/verify")).json()
    if not found["ok"]:
        print(f"The audit log is broken: the first bad entry is {found['first_bad']} ({found['checked']} checked)")
        raise typer.Exit(1)
    print(f"The audit log is whole: {found['checked']} entries")


@app.command("export")
def export_records(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    to: Annotated[Path, typer.Argument(help="File to write; - is standard output.")] = Path("-"),
    format_name: Format = None,
    url: Url = None,
    email: Email = None,
    password_file: PasswordFile = None,
) -> None:
    """Write all records of a collection to a file, through the API."""
    from fastcms_cli import transfers
    from fastcms_cli.api import signed_in

    with failing(), signed_in(load(Deployment), url, email, password_file) as client:
        size = transfers.export(client, collection, to, transfers.format_of(to, format_name))
    if str(to) != "-":
        print(f"{to}: {size:,} bytes")


@app.command("import")
def import_records(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    source: Annotated[Path, typer.Argument(help="File to read; - is standard input.")],
    format_name: Format = None,
    url: Url = None,
    email: Email = None,
    password_file: PasswordFile = None,
) -> None:
    """Create records from a file, through the API. Nothing is changed or deleted. Exit code 1: lines were refused."""
    from fastcms_cli import transfers
    from fastcms_cli.api import signed_in

    with failing(), signed_in(load(Deployment), url, email, password_file) as client:
        result = transfers.load(client, collection, source, transfers.format_of(source, format_name))
    for error in result["errors"]:
        fields = "".join(f"; {one['field']}: {one['message']}" for one in error.get("errors") or ())
        typer.echo(f"line {error['line']}: {error['detail']}{fields}", err=True)
    print(f"{result['created']} created, {result['failed']} refused")
    if result["failed"]:
        raise typer.Exit(1)


async def _serve() -> None:
    await Run(load(Settings)).serve()


def main() -> None:
    app(prog_name="fastcms")


if __name__ == "__main__":
    main()
