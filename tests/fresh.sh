#!/usr/bin/env bash
# The two commands of the README on a fresh Debian or Ubuntu, with the Python that it has.
#
#   tests/fresh.sh trixie
#   tests/fresh.sh noble http://archive.ubuntu.com/ubuntu
#
# Makes the system in a folder that it removes (debootstrap: a minute, 400 MB), clones the last
# commit into it and runs `make demo` and `make test` there.  Needs root, debootstrap and a mirror.
# DEBOOTSTRAP_OPTIONS: more options, such as --no-check-gpg where the keys are not installed.
set -euo pipefail

suite=${1:?the name of a release is needed, such as trixie}
mirror=${2:-http://deb.debian.org/debian}
here=$(cd "$(dirname "$0")/.." && pwd)
packages=python3,python3-venv,make,git,ca-certificates,procps,curl,nginx-light

for need in debootstrap unshare; do
  command -v $need >/dev/null || { echo "fresh.sh: $need is not installed" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "fresh.sh: needs root, for debootstrap and chroot" >&2; exit 1; }

root=$(mktemp -d "${TMPDIR:-/tmp}/netcache-fresh.XXXXXX")
trap 'rm -rf --one-file-system "$root" "$root.log"' EXIT

# Ubuntu's releases are all made the same way, and an older debootstrap does not know the newest.
script=$suite
[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=gutsy
components=main
[[ $mirror != *ubuntu* ]] || components=main,universe
# shellcheck disable=SC2086
debootstrap ${DEBOOTSTRAP_OPTIONS:-} --variant=minbase --components=$components \
  --include=$packages "$suite" "$root" "$mirror" \
  "/usr/share/debootstrap/scripts/$script" >"$root.log" 2>&1 ||
  { tail -5 "$root.log" >&2; exit 1; }

cp /etc/resolv.conf /etc/hosts "$root/etc/"
# Where a proxy with an authority of its own is between here and the package index.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
git clone -q "$here" "$root/home/netcache"

# The mounts go with the namespace.
export root
unshare --mount --propagation private bash -euc '
  mount --bind /proc "$root/proc"
  mount --bind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  chroot "$root" env -u TMPDIR HOME=/home LANG=C.UTF-8 bash -euc "
    cd /home/netcache
    python3 --version
    make --no-print-directory demo
    make --no-print-directory test"'
echo "fresh.sh: $suite is fine"
