#!/bin/sh
# Test::Harness 3.44: prove -j2 calls a run that was bailed out of a success.
#
# A test script that cannot go on says "Bail out!". One job at a time, prove counts that script as failed, and
# says "Result: FAIL". With -j2 the same scripts give "ok" for the very script that gave up, "All tests
# successful" and "Result: PASS"; the tests that it planned and did not run are not missed. What remains of
# the truth are a line on standard error and a status that is not 0. Who looks for "Result: PASS", or for
# lines that do not end in "ok", is misled. Remedy: the status.
#
# Debian 12's package, unpacked in a temporary folder and run there by the perl that is here. Needs apt and
# perl.
set -eu
version=3.44-1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -q download "libtest-harness-perl=$version" >log 2>&1 || { tail -3 log; exit 2; }
dpkg-deb -x libtest-harness-perl_*.deb root

mkdir t
echo 'print "1..1\nok 1\n"' >t/1-good.t
echo 'print "1..3\nok 1\nBail out!  The database is away\n"' >t/2-gives-up.t
echo 'print "1..1\nok 1\n"' >t/3-good.t

run() {
    PERL5LIB=$tmp/root/usr/share/perl5 perl -MApp::Prove \
        -e 'my $p = App::Prove->new; $p->process_args(@ARGV); exit($p->run ? 0 : 1)' -- "$@" t 2>errors
    echo "status $?"
}
PERL5LIB=$tmp/root/usr/share/perl5 perl -MTest::Harness \
    -e 'print "Test::Harness $Test::Harness::VERSION, perl $]\n"'
set +e
run -j1 >one
run -j2 >two
set -e
echo "one at a time:" && sed 's/^/    /' one && sed 's/^/    /' errors | grep FAILED
echo "two at a time:" && sed 's/^/    /' two

grep -q '^Result: FAIL' one
grep -q '^Failed 2/3 subtests' one
grep -q '^t/2-gives-up\.t \.* ok$' two
grep -q '^All tests successful\.$' two
grep -q '^Result: PASS$' two
! grep -q '^status 0$' two || exit 1
echo "as described"
