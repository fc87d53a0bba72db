#!/bin/sh
# Builds the distribution and runs its whole test suite on another system than this one: in a folder with
# a minimal Debian, made anew and removed at the end.
#
#     sh xt/elsewhere.sh bullseye|bookworm|trixie|sid
#                                               a release of Debian, from a bare system: the demonstration
#                                               and the suite, every warning an error
#     sh xt/elsewhere.sh experimental           sid with the perl and the OpenSSL of Debian's experimental
#     sh xt/elsewhere.sh i386                   32-bit programs
#     sh xt/elsewhere.sh arm64|s390x            another processor (s390x is big-endian): built by a cross
#                                               compiler, run by an emulator of user programs
#     sh xt/elsewhere.sh kqueue                 the C unit tests of the pollers with kqueue, that of libkqueue
#
# Further arguments are files of tests, instead of all. Needs root, debootstrap and this machine's source of
# Debian packages; for other processors qemu-user-static and Debian's gcc for them, too. Ends with status 77
# and says why if something of that is missing. .ci/run calls it when EASYTCP_PORTABILITY is set.
set -eu
cd "$(dirname "$0")/.."
where=${1:?where? See the head of this file}
shift

skip() {
    echo "$where .. skipped: $*"
    exit 77
}

need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is not here"
    done
}

need debootstrap dpkg-deb perl tar
[ "$(id -u)" = 0 ] || skip "root is needed"
mirror=$(cd /etc/apt && cat sources.list sources.list.d/*.sources sources.list.d/*.list 2>/dev/null |
    perl -ne 'print("$1\n"), last if m{^(?:URIs:|deb\s(?:\[.*?\]\s)?)\s*(http\S*/debian)/?(?:\s|$)}')
[ -n "$mirror" ] || skip "where this machine gets Debian packages is not known"

root=$(mktemp -d)
chmod 755 "$root" # apt-get's own user looks into it
trap 'umount "$root/proc" 2>/dev/null || :; rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM

# Arguments of debootstrap before the release; then the release.
bootstrap() {
    for release; do :; done
    debootstrap --variant=minbase "$@" "$root" "$mirror" >"$root.log" 2>&1 || {
        tail -n 3 "$root.log"
        rm -f "$root.log"
        skip "no Debian $release could be fetched from $mirror"
    }
    rm -f "$root.log"
}

# The files of MANIFEST, without anything built.
copy_tree() {
    mkdir -p "$root/src"
    perl -MExtUtils::Manifest=maniread -e 'print "$_\n" for grep { !/^META\./ } sort keys %{ maniread() }' |
        tar -cf - -T - | tar -xf - -C "$root/src"
}

inside() {
    chroot "$root" env -u TMPDIR LC_ALL=C DEBIAN_FRONTEND=noninteractive EASYTCP_WERROR=1 "$@"
}

# What this machine runs itself, from a bare system on.
prepare_chroot() {
    bootstrap "$@"
    copy_tree
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    mount -t proc proc "$root/proc"
}

say_versions() {
    inside perl -MConfig -e 'print qq($Config{archname}, perl $], pointers of $Config{ptrsize} bytes\n)'
    inside gcc --version | head -n 1
    inside dpkg-query -W libssl-dev
}

run_demo_and_suite() {
    inside sh /src/tools/demo >"$root/demo.log" 2>&1 || { tail -n 40 "$root/demo.log"; exit 1; }
    tail -n 1 "$root/demo.log"
    say_versions
    if [ $# -gt 0 ]; then
        inside sh -ec 'cd /src; make c_tests >/dev/null; exec prove -b -j2 "$@"' sh "$@"
    else
        inside sh /src/tools/test
    fi
}

add_experimental() {
    echo "deb $mirror experimental main" >>"$root/etc/apt/sources.list"
    inside apt-get -o Acquire::Check-Valid-Until=false update -q >/dev/null ||
        skip "Debian's experimental cannot be reached"
    inside apt-get install -q -y --no-install-recommends -t experimental "$@" >/dev/null ||
        skip "Debian's experimental does not give $*"
}

# libkqueue 2.3.1 answers EFAULT where a socket is watched for reading and writing at once, which a server
# does; so this is the test of the pollers alone, which knows that.
run_kqueue() {
    inside apt-get install -q -y --no-install-recommends \
        gcc libc6-dev make perl libperl-dev zlib1g-dev libssl-dev >/dev/null || skip "no compiler for sid"
    inside sh -ec 'cd /src
        perl Makefile.PL INC="-DETCP_HAVE_KQUEUE -I/usr/include/kqueue" LIBS="-lkqueue -lpthread" >/dev/null
        make -j2 c_tests >/dev/null
        exec prove -e "" t/c/test_net_poller'
}

# What is built for another processor cannot be started by this machine, so programs are put behind
# scripts that start them in the emulator, which looks for libraries in the folder, and for all other
# files outside.
prepare_cross() {
    arch=$1 triplet=$2 emulator=qemu-$3-static
    need "$emulator" "$triplet-gcc" make
    bootstrap --foreign --arch="$arch" --include=perl,libc6-dev,libssl-dev,zlib1g-dev bookworm
    for package in "$root"/var/cache/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    # Links that mean the root of that system.
    find "$root/usr/lib" -type l -lname '/*' | while read -r link; do
        ln -snf "$root$(readlink "$link")" "$link"
    done
    copy_tree
    mkdir "$root/tools"
    cat >"$root/tools/cc" <<END
#!/bin/sh
$triplet-gcc --sysroot="$root" "\$@" || exit
out= links=1
while [ \$# -gt 0 ]; do
    case \$1 in
        -c | -E | -shared) links= ;;
        -o) out=\$2 ;;
    esac
    shift
done
if [ -n "\$links" ] && [ -n "\$out" ]; then
    mv "\$out" "\$out.foreign"
    printf '%s\n' '#!/bin/sh' 'exec $emulator -L "$root" "\$0.foreign" "\$@"' >"\$out"
    chmod +x "\$out"
fi
END
    printf '%s\n' '#!/bin/sh' "exec $emulator -L \"$root\" \"$root/usr/bin/perl\" \"\$@\"" >"$root/tools/perl"
    chmod +x "$root/tools/cc" "$root/tools/perl"
    # The perl that tests start is the script, too.
    printf '%s\n' 'package ForeignPerl;' "\$^X = '$root/tools/perl';" '1;' >"$root/tools/ForeignPerl.pm"
}

run_cross() {
    cd "$root/src"
    export PERL5OPT="-I$root/tools -MForeignPerl" LC_ALL=C EASYTCP_TEST_DEADLINE=1200 EASYTCP_TEST_EMULATED=1
    unset PERL5LIB
    perl=$root/tools/perl
    archlib=$root$("$perl" -MConfig -e 'print $Config{archlibexp}')
    "$perl" -MConfig -e 'print qq($Config{archname}, perl $], byte order $Config{byteorder}\n)'
    "$perl" Makefile.PL CC="$root/tools/cc" LD="$root/tools/cc" INC="-I$archlib/CORE" >"$root/configured"
    [ -f Makefile ] || { cat "$root/configured"; exit 1; }
    for target in all c_tests; do
        make -j2 PERL_ARCHLIBDEP="$archlib" PERL_INC="$archlib/CORE" PERL_INCDEP="$archlib/CORE" XSUBPPDEPS= \
            "$target" >/dev/null
    done
    [ $# -gt 0 ] || set -- t
    "$perl" "$root/usr/bin/prove" -b -j2 "$@"
}

case $where in
    bullseye | bookworm | trixie | sid)
        prepare_chroot "$where"
        run_demo_and_suite "$@"
        ;;
    experimental)
        prepare_chroot sid
        add_experimental perl perl-base libperl-dev libssl-dev
        run_demo_and_suite "$@"
        ;;
    i386)
        prepare_chroot --arch=i386 bookworm
        run_demo_and_suite "$@"
        ;;
    kqueue)
        prepare_chroot sid
        add_experimental libkqueue-dev
        run_kqueue
        ;;
    arm64) prepare_cross arm64 aarch64-linux-gnu aarch64 && run_cross "$@" ;;
    s390x) prepare_cross s390x s390x-linux-gnu s390x && run_cross "$@" ;;
    *)
        echo "What is $where? See the head of this file" >&2
        exit 2
        ;;
esac
