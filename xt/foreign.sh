# What xt/i386.sh and xt/s390x.sh share; read by them, at the top of the distribution. Sets suite and
# mirror to the release of Debian to install and where this machine gets its packages.

for tool in debootstrap dpkg-deb perl; do
    command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "root is needed" >&2; exit 2; }

suite=bookworm
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    perl -ne 'print("$1\n"), last if m{^(?:URIs:|deb\s(?:\[.*?\]\s)?)\s*(http\S*/debian)/?(?:\s|$)}')
[ -n "$mirror" ] || { echo "Where this machine gets Debian packages is not known" >&2; exit 2; }

# The files of MANIFEST, without anything built, in a new directory.
copy_tree() {
    mkdir -p "$1"
    perl -MExtUtils::Manifest=maniread -e 'print "$_\n" for grep { !/^META\./ } sort keys %{ maniread() }' |
        tar -cf - -T - | tar -xf - -C "$1"
}
