"""What takes the places of the services where only the supervisor is under test. Nothing in here is the product's.

MISBEHAVING is `<name>:<how>`: `refuse` to start with the settings, be `deaf` to SIGTERM.
"""

# ruff: noqa: T201

import http.server
import json
import os
import signal
import socket
import subprocess
import sys

SERVICES = ("AUTH_SERVICE", "COLLECTIONS_SERVICE", "ADMIN_SERVICE", "SCHEDULER_SERVICE")


def begin(name: str) -> None:
    def stop(*_: object) -> None:
        print(f"{name} drained")
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    match os.environ.get("MISBEHAVING", "").split(":"):
        case [who, "refuse"] if who == name:
            print("fastcms: A_SETTING: is no good", file=sys.stderr)
            sys.exit(2)
        case [who, "deaf"] if who == name:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def wait() -> None:
    while True:
        signal.pause()


def worker(name: str) -> None:
    begin(name)
    wait()


def service(name: str) -> None:
    begin(name)
    host, port = os.environ["LISTEN"].rsplit(":", 1)
    with socket.create_server((host, int(port))):
        print(f"{name} listens")
        wait()


def is_up(target: str) -> bool:
    host, port = os.environ[target].rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        states = [{"name": target, "status": "ok" if is_up(target) else "down"} for target in SERVICES]
        ready = self.path == "/health/ready" and all(state["status"] == "ok" for state in states)
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"dependencies": states}).encode())

    def log_message(self, *_: object) -> None:
        return


class Gateway(http.server.ThreadingHTTPServer):
    """On the inherited socket, and with a process of its own below it that ignores SIGTERM."""

    def __init__(self) -> None:
        super().__init__(("", 0), Health, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=int(os.environ["LISTEN_FD"]))
        code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
        self.below = subprocess.Popen([sys.executable, "-c", code])


def gateway() -> None:
    begin("gateway")
    Gateway().serve_forever()
