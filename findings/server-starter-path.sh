#!/bin/sh
# Server::Starter 0.35: an old start_server, at its end, removes the socket of the new one at the same --path.
#
# start_server listens at a Unix-domain socket, and removes its file when it ends. It does not look whose file
# that is by then. Where one start_server takes over from another without a gap (the new one begins, and puts
# its socket in the place of the other, with a warning; then the old one gets TERM), nobody can connect
# afterwards. All processes run, no log has an error, and connections that exist go on. Remedy: end the old
# one first, or keep one start_server and change the workers, by HUP.
#
# Debian 12's package, unpacked in a temporary folder and run there by the perl that is here. Needs apt and
# perl.
set -eu
tmp=$(mktemp -d)
old=
new=
trap 'kill $old $new 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -q download libserver-starter-perl=0.35-2 >log 2>&1 || { tail -3 log; exit 2; }
dpkg-deb -x libserver-starter-perl_*.deb root
export PERL5LIB="$tmp/root/usr/share/perl5"

cat >worker.pl <<'PERL'
use strict;
use warnings;
use Server::Starter qw(server_ports);

my $name = shift;
my ($fd) = values %{ server_ports() };
open my $listener, '+<&=', $fd or die $!;
$SIG{TERM} = sub { exit };
while (accept my $client, $listener) { syswrite $client, "the $name one answers\n" }
PERL
ask() {
    perl -MIO::Socket::UNIX \
        -e 'my $s = IO::Socket::UNIX->new("socket") or print("nobody: $!\n"), exit; print <$s>'
}
begin() {
    perl root/usr/bin/start_server --path "$tmp/socket" -- "$(command -v perl)" worker.pl "$1" 2>"$1" &
}
{
    perl -MServer::Starter -e 'print "Server::Starter $Server::Starter::VERSION, perl $]\n"'
    begin old
    old=$!
    sleep 2
    ask
    begin new
    new=$!
    sleep 2
    ask
    kill "$old"
    wait "$old" || true
    echo "the old one has ended"
    ask
    kill -0 "$new"
    grep -q 'died' new || echo "the new one runs, and says nothing"
} >said
cat said

grep -q '^Server::Starter 0\.35, ' said
tail -n +2 said >rest
cat >wanted <<'TEXT'
the old one answers
the new one answers
the old one has ended
nobody: No such file or directory
the new one runs, and says nothing
TEXT
cmp -s rest wanted
echo "as described"
