#!/bin/sh
# Makes an image of Debian and a few of its packages, without a registry of images:
#
#     deploy/base-image.sh debian-python:12 python3 python3-venv ca-certificates
#
# Needs root, debootstrap, and docker. SUITE is the release (bookworm), MIRROR where packages come from (debootstrap's
# own default), DOCKER the engine's command (docker). What no service needs is left out: manuals, translations, lists of
# packages that could be installed, converters between character sets (Python brings its own).

set -eu

test $# -ge 1 || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
image=$1
shift
packages=$(echo "$*" | tr ' ' ',')
root=$(mktemp -d)
# debootstrap mounts these, and leaves them mounted where it is interrupted: never delete through them.
clean() {
  umount "$root/proc" "$root/sys" 2> /dev/null || true
  rm -rf --one-file-system "$root"
}
trap clean EXIT
trap 'exit 130' INT TERM

debootstrap --variant=minbase ${packages:+--include="$packages"} "${SUITE:-bookworm}" "$root" ${MIRROR:+"$MIRROR"} >&2

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/tmp/* "$root"/usr/lib/*/gconv
(cd "$root/usr/share" && rm -rf bash-completion man/* locale/* info/* lintian)
# Licences stay.
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/lib" "$root/usr/share" -name __pycache__ -prune -exec rm -rf {} +
# Left by debootstrap: how this machine reaches its network.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"

# mktemp made the folder for its owner alone; it becomes the root of the image.
chmod 0755 "$root"
tar --create --directory "$root" --sort=name --numeric-owner . |
  ${DOCKER:-docker} import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["/bin/sh"]' - "$image"
