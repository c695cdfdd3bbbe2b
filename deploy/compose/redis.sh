#!/bin/sh
# Starts Redis with its password from a file. It goes in by standard input: a command line can be read by everybody.
set -eu
exec docker-entrypoint.sh redis-server - <<END
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory 384mb
maxmemory-policy noeviction
requirepass $(cat /run/secrets/redis-password)
END
