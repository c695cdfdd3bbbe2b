#!/bin/sh
# Starts MongoDB as a replica set of one, with authentication. mongod wants its key file for itself alone, which a file
# that is mounted from the host is not: so it gets a copy in memory.
set -eu
install -m 0400 -o mongodb -g mongodb /run/secrets/mongodb-key /tmp/mongodb-key
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile /tmp/mongodb-key --bind_ip_all --wiredTigerCacheSizeGB 0.5
