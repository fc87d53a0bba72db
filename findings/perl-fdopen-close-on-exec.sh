#!/bin/sh
# perl 5.36: looking at an inherited descriptor by open '<&=' takes it away from programs that are run later.
#
# A program that is given a socket by systemd, Server::Starter or a shell makes a handle of its number:
# open my $fh, '+<&=', 3, or IO::Handle->new_from_fd. Nothing is opened by that, and the descriptor belongs to
# whoever passed it. All the same perl sets close-on-exec on it, as for files of its own, when the number is
# greater than $^F (2). A later exec, of the same program for example, finds the descriptor gone. A duplicate,
# '<&', leaves it alone. Remedy: look at a duplicate, or raise $^F while opening.
#
# Debian 12's package, unpacked in a temporary folder and run there. Needs apt and Linux.
set -eu
version=5.36.0-7+deb12u4
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -q download "perl-base=$version" >log 2>&1 || { tail -3 log; exit 2; }
dpkg-deb -x perl-base_*.deb root

cat >show.pl <<'PERL'
use strict;
use warnings;

sub state_of {
    my $fd = shift;
    open my $info, '<', "/proc/self/fdinfo/$fd" or return 'gone';
    my ($flags) = map { /^flags:\s+(\d+)/ ? oct $1 : () } <$info>;
    return $flags & oct(2000000) ? 'closed by exec' : 'kept by exec';
}

my ($how, $fd) = @ARGV;
my ($mode) = $how =~ /(<&=?)/;
printf "%-22s before: %s", $how, state_of($fd);
my $fh;
{
    local $^F = $how =~ /F/ ? 255 : $^F;
    open $fh, $mode, $fd or die $!;
}
printf ", while it is open: %s, later: ", state_of($fd);
$| = 1;    # also empties the buffer
exec '/bin/sh', '-c', 'if [ -e /dev/fd/$1 ]; then echo there; else echo gone; fi', 'sh', $fd or die $!;
PERL
perl=$tmp/root/usr/bin/perl
lib=$tmp/root/usr/lib/x86_64-linux-gnu/perl-base
"$perl" -I"$lib" -e 'print "perl $]\n"'
for how in 'open <&=' 'open <&' 'open <&=, $^F = 255'; do
    "$perl" -I"$lib" show.pl "$how" 7 7</etc/hostname
done | tee said

grep -q '^open <&=  *before: kept by exec, while it is open: closed by exec, later: gone$' said
grep -q '^open <&  *before: kept by exec, while it is open: kept by exec, later: there$' said
grep -q '^open <&=, \$^F = 255  *before: kept by exec, while it is open: kept by exec, later: there$' said
echo "as described"
