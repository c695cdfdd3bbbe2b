#!/bin/sh
# Starts Redis with its password from a file. It goes in by standard input: a command line can be read by everybody.
set -eu
# The entrypoint of Redis' own image becomes the user redis; a Debian's image has none, and is started as its user.
entrypoint=$(command -v docker-entrypoint.sh || true)
exec $entrypoint redis-server - <<END
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory 384mb
maxmemory-policy noeviction
requirepass $(cat /run/secrets/redis-password)
END
