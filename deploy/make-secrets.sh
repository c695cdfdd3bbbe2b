#!/bin/sh
# Makes the secrets of a deployment, one file each: deploy/make-secrets.sh [folder]
#
# The folder is deploy/secrets where none is named. What is there already is left as it is, so that it can be run again.
# MONGODB_HOSTS and REDIS_HOST are the host:port (several MongoDB hosts: separated by commas) that the URLs name,
# MONGODB_OPTIONS what follows the question mark.
set -eu

folder=${1:-$(dirname "$0")/secrets}
mongodb_hosts=${MONGODB_HOSTS:-mongodb:27017}
mongodb_options=${MONGODB_OPTIONS:-replicaSet=rs0&authSource=admin}
redis_host=${REDIS_HOST:-redis:6379}

# The folder is for its owner alone. The files in it are not: containers read them as a user of their own, and see the
# file without the folder.
mkdir -p "$folder"
chmod 0700 "$folder"
umask 077

# 32 random bytes in base64url without padding: it can stand in a URL as it is.
random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# keep NAME: writes standard input to the file, whole or not at all, unless it is there.
keep() {
    if [ -e "$folder/$1" ]; then
        cat > /dev/null
        echo "kept  $folder/$1"
    else
        cat > "$folder/$1.new"
        chmod 0444 "$folder/$1.new"
        mv "$folder/$1.new" "$folder/$1"
        echo "made  $folder/$1"
    fi
}

for name in service-key master-key setup-token redis-password mongodb-root-password; do
    random | keep "$name"
done
# The members of a replica set know each other by it: MongoDB takes letters, digits, + and /.
random | tr -d '_-' | keep mongodb-key
for name in auth collections admin scheduler; do
    echo "mongodb://$name:$(random)@$mongodb_hosts/fastcms?$mongodb_options" | keep "storage-url-$name"
done
echo "redis://:$(cat "$folder/redis-password")@$redis_host/0" | keep redis-url
# Empty: no mail server. Mails are then written to files in auth-service's volume.
printf '' | keep smtp-url
