#!/bin/sh
# Builds the distribution for s390x, a big-endian processor, with a cross compiler, and runs its tests
# there by an emulator of user programs, as far as that can: in a folder with packages of Debian, removed
# at the end. Needs root, debootstrap, qemu-user-static, gcc-s390x-linux-gnu, and this machine's source of
# Debian packages. Run by .ci/run when EASYTCP_PORTABILITY is set.
set -eu
cd "$(dirname "$0")/.."
. xt/foreign.sh
for tool in qemu-s390x-static s390x-linux-gnu-gcc make; do
    command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }
done

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --foreign --arch=s390x --variant=minbase \
    --include=perl,libc6-dev,libssl-dev,zlib1g-dev "$suite" "$root" "$mirror" >"$root/log" ||
    { tail "$root/log"; exit 1; }
for package in "$root"/var/cache/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
done
# Links that mean the root of that system.
find "$root/usr/lib" -type l -lname '/*' | while read -r link; do
    ln -snf "$root$(readlink "$link")" "$link"
done
copy_tree "$root/src"

# What is built cannot be started by this machine, so programs are put behind scripts that start them.
mkdir "$root/tools"
cat >"$root/tools/cc" <<EOF
#!/bin/sh
s390x-linux-gnu-gcc --sysroot="$root" "\$@" || exit
out= links=1
while [ \$# -gt 0 ]; do
    case \$1 in
        -c | -E | -shared) links= ;;
        -o) out=\$2 ;;
    esac
    shift
done
if [ -n "\$links" ] && [ -n "\$out" ]; then
    mv "\$out" "\$out.s390x"
    printf '%s\n' '#!/bin/sh' 'exec qemu-s390x-static -L "$root" "\$0.s390x" "\$@"' >"\$out"
    chmod +x "\$out"
fi
EOF
cat >"$root/tools/perl" <<EOF
#!/bin/sh
exec qemu-s390x-static -L "$root" "$root/usr/bin/perl" "\$@"
EOF
chmod +x "$root/tools/cc" "$root/tools/perl"
# The perl that tests start is the script, too.
printf '%s\n' 'package ForeignPerl;' "\$^X = '$root/tools/perl';" '1;' >"$root/tools/ForeignPerl.pm"

cd "$root/src"
export PERL5OPT="-I$root/tools -MForeignPerl" LC_ALL=C
unset PERL5LIB
perl=$root/tools/perl
"$perl" -MConfig -e 'print qq($Config{archname}, perl $], byte order $Config{byteorder}\n)'
"$perl" Makefile.PL CC="$root/tools/cc" LD="$root/tools/cc" >/dev/null
archlib=$root$("$perl" -MConfig -e 'print $Config{archlibexp}')
build() {
    make -j2 PERL_ARCHLIBDEP="$archlib" PERL_INC="$archlib/CORE" PERL_INCDEP="$archlib/CORE" XSUBPPDEPS= "$@"
}
build >/dev/null
build c_tests >/dev/null
[ $# -gt 0 ] || set -- t
EASYTCP_TEST_DEADLINE=1200 "$perl" "$root/usr/bin/prove" -b -j2 "$@"
