#!/bin/sh
# Builds the distribution as a Debian package and asks lintian what it thinks of it. Nothing of debian/ is
# part of the distribution: dh-make-perl makes it from the tarball. Needs dh-make-perl, debhelper, fakeroot
# and lintian; 77 if one of them is missing.
#
#   sh xt/debian-package.sh [DIRECTORY]     leaves the packages in DIRECTORY
set -eu
cd "$(dirname "$0")/.."
for program in dh-make-perl dh fakeroot lintian dpkg-buildpackage; do
    command -v "$program" >/dev/null && continue
    echo "debian-package.sh .. skipped: $program is not here"
    exit 77
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
keep=${1:-}
[ -z "$keep" ] || keep=$(cd "$keep" && pwd)

# Runs a command, whose output is shown only if it fails.
logged() {
    "$@" >"$work/log" 2>&1 && return 0
    tail -40 "$work/log"
    exit 1
}

make_tarball() {
    (cd "$work/tree" && perl Makefile.PL && make dist)
}

# The tarball, made of a copy of the tree, so that nothing is built or left here.
mkdir "$work/tree"
perl -MExtUtils::Manifest=maniread -e 'print "$_\n" for grep { !/^META\./ } sort keys %{ maniread() }' |
    tar -cf - -T - | tar -xf - -C "$work/tree"
logged make_tarball
cd "$work"
tar -xzf tree/Net-EasyTCP-*.tar.gz
cd Net-EasyTCP-*/

# Whoever packages it has a name; what the libraries are called in Debian is not in META.
export DEBFULLNAME="Nobody" DEBEMAIL="nobody@example.org" EMAIL="nobody@example.org" HOME="$work"
needs='debhelper-compat (= 13), perl-xs-dev, perl:native, zlib1g-dev, libssl-dev, libdeflate-dev'
logged dh-make-perl make --no-network --bdepends "$needs" --email nobody@example.org --arch any .
DEB_BUILD_OPTIONS=nocheck logged dpkg-buildpackage -us -uc -b -rfakeroot

# Not ours: what a person who packages it writes into debian/.
not_ours=helper-templates-in-copyright,copyright-contains-automatically-extracted-boilerplate
not_ours=$not_ours,description-contains-dh-make-perl-template,initial-upload-closes-no-bugs
# The examples are run by perl, where they are installed, too.
not_ours=$not_ours,script-not-executable
logged lintian --allow-root --fail-on error,warning --suppress-tags "$not_ours" ../*.changes
cat "$work/log"
dpkg-deb -c ../libnet-easytcp-perl_*.deb | awk '{ print $6 }' | grep -v '/$'
[ -z "$keep" ] || cp ../*.deb "$keep"
echo "lintian has nothing to say against it"
