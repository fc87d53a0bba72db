#!/bin/sh
# Builds the distribution and runs its whole test suite as 32-bit programs: in a folder with a minimal
# Debian for i386, made anew and removed at the end. Needs root, debootstrap, and this machine's source
# of Debian packages. Run by .ci/run when EASYTCP_PORTABILITY is set.
set -eu
cd "$(dirname "$0")/.."
. xt/foreign.sh

root=$(mktemp -d)
trap 'umount "$root/proc" 2>/dev/null || :; rm -rf "$root"' EXIT
debootstrap --arch=i386 --variant=minbase \
    --include=perl,gcc,libc6-dev,make,libssl-dev,zlib1g-dev,pkg-config "$suite" "$root" "$mirror" >"$root.log" ||
    { tail "$root.log"; exit 1; }
rm -f "$root.log"
copy_tree "$root/src"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
mount -t proc proc "$root/proc"
cat >"$root/tmp/all" <<'EOF'
set -eu
cd /src
perl -MConfig -e 'print qq($Config{archname}, perl $], pointers of $Config{ptrsize} bytes\n)'
EASYTCP_WERROR=1 perl Makefile.PL >/dev/null
make -j2 >/dev/null
make -j2 c_tests >/dev/null
prove -b -j2 t
EOF
chroot "$root" env LC_ALL=C sh /tmp/all
