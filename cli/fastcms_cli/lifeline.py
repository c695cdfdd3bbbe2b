"""The process that outlives the supervisor by a moment, to end what a killed supervisor left running.

Started as a script with nothing but the standard library. Standard input is a pipe whose other end only the supervisor
holds: lines `+<group>` and `-<group>` say which process groups live. The end of the input means that the supervisor
has gone, however it went: every group that is left is killed. It works alike on Linux and on macOS, and reaches
grandchildren (a gateway's workers, a job's process), which PR_SET_PDEATHSIG does not.

It also holds the lock of the data folder (an inherited descriptor), so that a new run cannot start on the folder while
processes of the old one still write there.
"""

import os
import signal
import sys
import time

GONE_WITHIN = 5.0


def watch() -> set[int]:
    """Read until the supervisor is gone; the groups that were alive then."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def end(groups: set[int]) -> None:
    """Kill the groups and wait until the kernel knows them no more."""
    give_up = time.monotonic() + GONE_WITHIN
    while groups and time.monotonic() < give_up:
        for group in list(groups):
            try:
                os.killpg(group, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                # macOS answers EPERM for a group of which only zombies are left.
                groups.discard(group)
        time.sleep(0.01)


if __name__ == "__main__":
    # A signal meant for the supervisor (Ctrl-C, a closed terminal) is not one for the process that cleans up after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(watch())
