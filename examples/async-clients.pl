#!/usr/bin/perl
# Stays connected to several servers, asks each of them something now and then, and prints what changes. A
# server that is away is tried again until it is back.
#
#   perl examples/echo-server.pl 2345 &
#   perl examples/async-clients.pl 127.0.0.1:2345 127.0.0.1:2346
#
# All clients live in one loop, that of the first of them; nothing here waits for a server. In a program that
# has an event loop, say $clients[0]->attach in place of $clients[0]->start.
#
# To change: what is asked, in ask, and what is made of the answer, in report.

use strict;
use warnings;

use Net::EasyTCP;

my $EVERY = 1;    # seconds
@ARGV or die "Usage: $0 host:port ...\n";
$| = 1;

my (@clients, %state, %asked);
foreach my $where (@ARGV) {
    my ($host, $port) = $where =~ /\A(.+):(\w+)\z/ or die "$where is no host:port\n";
    my $client = Net::EasyTCP->new(
        mode      => 'client',
        host      => $host,
        port      => $port,
        async     => 1,
        reconnect => [ 0.2, 5 ],                        # seconds between two attempts
        @clients ? (loop => $clients[0]) : (),
    ) or die "Cannot make a client for $where: $@\n";
    $client->setcallback(
        connect    => sub { report($where, 'up'); ask($where, shift) },
        disconnect => sub { report($where, 'down') },
        error      => sub { report($where, 'down') },
    ) or die "Cannot set callbacks: $@\n";
    push @clients, $client;
}

# idle: called at least a hundred times a second, so that no timer is needed
$clients[0]->start(sub {
    for my $n (0 .. $#clients) {
        ask($ARGV[$n], $clients[$n]) if $state{ $ARGV[$n] } && $state{ $ARGV[$n] } ne 'down';
    }
}) or die "The loop failed: $@\n";

sub ask {
    my ($where, $client) = @_;
    return if $asked{$where} && time - $asked{$where} < $EVERY;
    $asked{$where} = time;
    $client->request('how are you', sub {
        my ($answer, $why) = @_;
        report($where, defined $answer ? "answers '$answer'" : "does not answer: $why");
    }, timeout => 5) or report($where, "cannot be asked: $@");
    return;
}

# Only what is new.
sub report {
    my ($where, $what) = @_;
    return if $state{$where} && $state{$where} eq $what;
    $state{$where} = $what;
    print "$where $what\n";
    return;
}
