#!/usr/bin/perl
# A chat with rooms. What one writes, all others in the same room read.
#
#   perl examples/chat.pl server [port]
#   perl examples/chat.pl NAME [host [port]]
#
# Who comes is in the lobby; the line "/join kitchen" leads to the kitchen.
#
# To change: what is told to newcomers, and who may enter a room, in the data callback.

use strict;
use warnings;

use IO::Select;
use Net::EasyTCP;

my $who = shift or die "Usage: $0 server [port] | NAME [host [port]]\n";
$| = 1;
$who eq 'server' ? serve(@ARGV) : talk($who, @ARGV);

sub serve {
    my ($port) = @_;
    my $server = Net::EasyTCP->new(
        mode       => 'server',
        port       => defined $port ? $port : 2345,
        maxmessage => 10_000,
        whenfull   => 'close',     # who does not read is not waited for
    ) or die "Cannot create the server: $@\n";

    my %name;                      # by serial number
    my $tell = sub {
        my ($text, $from) = @_;
        for my $room ($from->rooms) {
            defined $server->broadcast($text, room => $room, except => $from) or warn "Cannot tell: $@\n";
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

    print 'Listening on port ', $server->port, "\n";
    $server->start or die "The server failed: $@\n";
}

sub talk {
    my ($name, $host, $port) = @_;
    my $client = Net::EasyTCP->new(
        mode => 'client',
        host => defined $host ? $host : 'localhost',
        port => defined $port ? $port : 2345,
    ) or die "Cannot connect: $@\n";
    $client->send($name) or die "Cannot send: $@\n";

    my $select = IO::Select->new($client->socket, \*STDIN);
    for (;;) {
        # Messages that are here already make no handle readable.
        while ($client->pending) { hear($client) or return }
        for my $handle ($select->can_read) {
            if ($handle != \*STDIN) {
                hear($client) or return;
                next;
            }
            # sysread: a buffer of Perl's would hide lines from select
            sysread(STDIN, my $lines, 4096) or return;
            for my $line (split /\n/, $lines) {
                $client->send($line) or die "Cannot send: $@\n";
            }
        }
    }
}

# False when the server has gone.
sub hear {
    my $client = shift;
    my $text   = $client->receive(60);
    defined $text or return;
    print "$text\n";
    return 1;
}
