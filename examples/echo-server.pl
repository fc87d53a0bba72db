#!/usr/bin/perl
# A server that sends every message back to where it came from.
#
#   perl examples/echo-server.pl [port [password]]
#
# The port is 2345 unless given; 00 lets the system choose one. A client that sends QUIT is
# disconnected, one that sends DIE ends the server.

use strict;
use warnings;

use Net::EasyTCP;

my ($port, $password) = @ARGV;
$port = 2345 if !defined $port;
$| = 1;

my $server = Net::EasyTCP->new(
    mode     => 'server',
    port     => $port,
    password => $password,
    welcome  => 'This server sends back what it is sent',
) or die "Cannot create the server: $@\n";

$server->setcallback(
    connect    => \&on_connect,
    data       => \&on_data,
    disconnect => \&on_disconnect,
) or die "Cannot set callbacks: $@\n";

print 'Listening on port ', $server->port, "\n";
$server->start or die "The server failed: $@\n";
print "Stopped\n";

sub on_connect {
    my $client = shift;
    printf "Client %d connected from %s, compression %s, encryption %s\n", $client->serial,
        $client->remoteip, $client->compression || 'none', $client->encryption || 'none';
}

sub on_data {
    my $client  = shift;
    my $message = $client->data;
    printf "Client %d sent %s\n", $client->serial,
        ref $message ? 'a structure' : length($message) . ' bytes';
    eval { $client->send($message) } or warn "Cannot answer client: $@\n";
    return if ref $message;
    $client->close if $message eq 'QUIT';
    $server->stop  if $message eq 'DIE';
}

sub on_disconnect {
    my $client = shift;
    printf "Client %d disconnected\n", $client->serial;
}
