#!/usr/bin/perl
# The chat of chat.pl for many processes and machines: what one writes, all others in the same room read,
# whichever process they are connected to. Redis, or Valkey, is in between. Needs Redis.pm.
#
#   perl examples/chat-cluster.pl [workers [port [redis]]]
#   perl examples/chat.pl NAME [host [port]]
#
# There are 2 workers, the port is 2345, and redis is 127.0.0.1:6379, or the path of its socket. Start it on
# as many machines as you like. TERM ends it.
#
# To change: what clients are told after a gap. Here they are asked to look elsewhere for what they missed.

use strict;
use warnings;

use Net::EasyTCP;
use Net::EasyTCP::Cluster;

my ($workers, $port, $redis) = @ARGV;
$workers = 2    if !defined $workers;
$port    = 2345 if !defined $port;
$| = 1;

# Made before the workers are: they share its socket, and so share the connections.
my $server = Net::EasyTCP->new(mode => 'server', port => $port, maxmessage => 10_000, whenfull => 'close')
    or die "Cannot create the server: $@\n";
my @children = map { start_worker() } 1 .. $workers;
$SIG{TERM} = $SIG{INT} = sub { kill 'TERM', @children };
print 'Listening on port ', $server->port, "\n";
foreach my $pid (@children) {
    1 while waitpid($pid, 0) < 0 && $!{EINTR};
}

sub start_worker {
    my $pid = fork;
    die "Cannot fork: $!\n" if !defined $pid;
    return $pid if $pid;
    local $SIG{TERM} = sub { $server->finish(5) };
    work();
    exit;
}

sub work {
    # A connection to Redis for each worker: made by it.
    my $cluster = Net::EasyTCP::Cluster->new(
        server => $server,
        redis  => $redis,
        stream => 'chat',
        gap    => sub { $server->broadcast('(Some messages were lost.)') },
    ) or die "Cannot join the cluster: $@\n";

    my %name;    # by serial number
    my $tell = sub {
        my ($text, $from) = @_;
        for my $room ($from->rooms) {
            $cluster->broadcast($text, room => $room, except => $from) or warn "Cannot tell: $@\n";
        }
    };
    my $move = sub {
        my ($client, $room, $greeting) = @_;
        $tell->($name{ $client->serial } . ' has left', $client);
        $client->leaveroom($client->rooms);
        $client->joinroom($room);
        eval { $client->send($greeting) } or warn "Cannot answer: $@\n";
        $tell->($name{ $client->serial } . ' has come', $client);
    };
    $server->setcallback(
        data => sub {
            my $client = shift;
            my $text   = $client->data;
            return if !defined $text || ref $text;
            if (!defined $name{ $client->serial }) {    # the first message is the name
                $name{ $client->serial } = $text;
                return $move->($client, 'lobby', "Welcome, $text");
            }
            if ($text =~ m{\A/join (\w{1,20})\z}) {
                return $move->($client, $1, "You are in $1");
            }
            $tell->($name{ $client->serial } . ": $text", $client);
        },
        disconnect => sub {
            my $client = shift;
            my $name   = delete $name{ $client->serial };
            $tell->("$name has left", $client) if defined $name;    # the rooms still know the client
        },
    ) or die "Cannot set callbacks: $@\n";
    $server->start or warn "The worker failed: $@\n";
    return;
}
