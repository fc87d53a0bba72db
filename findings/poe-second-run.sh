#!/bin/sh
# POE 1.370: after an exception has left POE::Kernel->run, a second run returns at once, as if all were done.
#
# A callback that dies leaves run, so that a program may catch the exception, write it down and go on, as it
# can with IO::Async, Tk or a loop of its own. The second run returns without an error and without a call: on
# its way out the exception has ended every session, with its timers and descriptors. A server that enters its
# loop again in this way ends well, with status 0. Remedy: eval inside the callback, or POE's signal DIE,
# which keeps the exception from leaving run.
#
# Debian 12's package, unpacked in a temporary folder and run there by the perl that is here. Needs apt and
# perl.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -q download libpoe-perl=2:1.3700-1 >log 2>&1 || { tail -3 log; exit 2; }
dpkg-deb -x libpoe-perl_*.deb root

cat >show.pl <<'PERL'
use strict;
use warnings;
use POE;

print "POE $POE::VERSION, perl $]\n";
my $catches = @ARGV;
pipe my $read, my $write or die $!;
syswrite $write, 'abc';
POE::Session->create(inline_states => {
    _start => sub {
        $_[KERNEL]->select_read($read, 'ready');
        $_[KERNEL]->sig(DIE => 'caught') if $catches;
    },
    _stop  => sub { print "the session ends\n" },
    caught => sub { print "caught: $_[ARG1]{error_str}"; $_[KERNEL]->sig_handled },
    ready  => sub {
        sysread $read, my $byte, 1;
        print "read $byte\n";
        $_[KERNEL]->select_read($read) if $byte eq 'c';
        $_[KERNEL]->sig('DIE') if $byte eq 'c';
        die "a problem\n" if $byte eq 'a';
    },
});
for my $n ('first', 'second') {
    my $done = eval { POE::Kernel->run; 1 };
    print "the $n run ", $done ? "returns\n" : "dies: $@";
}
PERL
export PERL5LIB="$tmp/root/usr/share/perl5"
perl show.pl 2>&1 | tee said
echo "with the signal DIE:"
perl show.pl catch 2>&1 | tee caught

grep -q '^the first run dies: a problem$' said
grep -q '^the second run returns$' said
! grep -q 'read b' said || exit 1
test "$(grep -n 'session ends' said | cut -d: -f1)" -lt "$(grep -n 'first run' said | cut -d: -f1)"
grep -q '^read c$' caught
echo "as described"
