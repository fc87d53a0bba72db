#!/usr/bin/perl
# A server of several processes, which sends everything back.
#
#   perl examples/prefork.pl [workers [port [seconds]]]
#   start_server --port 2345 -- perl examples/prefork.pl 4
#   systemd-socket-activate -l 2345 perl examples/prefork.pl 4
#
# There are 4 workers and the port is 2345 unless given otherwise. The socket is taken from who started it,
# if that has one: Server::Starter, which starts a new generation at each HUP before it ends the old one,
# or systemd (examples/systemd). TERM ends it: clients leave within so many seconds, 10 unless given,
# and none before it was answered. Workers that die are replaced. Needs Parallel::Prefork.

use strict;
use warnings;

use Net::EasyTCP;
use Parallel::Prefork;

my ($workers, $port, $seconds) = @ARGV;
$workers = 4    if !defined $workers;
$port    = 2345 if !defined $port;
$seconds = 10   if !defined $seconds;
$| = 1;

# Made before the workers are: they share its socket, and so share the connections.
my $server = Net::EasyTCP->new(mode => 'server', inherit => 1, port => $port, whenfull => 'close')
    or die "Cannot create the server: $@\n";
$server->setcallback(data => \&on_data);
print 'Listening on port ', $server->port, "\n";

my $manager = Parallel::Prefork->new({
    max_workers  => $workers,
    trap_signals => { TERM => 'TERM', HUP => 'TERM' },
});
while ($manager->signal_received ne 'TERM') {
    $manager->start(\&work);
}
$manager->wait_all_children;

sub work {
    local $SIG{TERM} = sub { $server->finish($seconds) };
    $server->start or warn "The worker failed: $@\n";
    return;
}

sub on_data {
    my $client  = shift;
    my $message = $client->data;
    $message = $$ if !ref $message && $message eq 'PID';
    eval { $client->send($message) } or warn "Cannot answer: $@\n";
    return;
}
