#!/usr/bin/perl
# A client for each thread, all busy at the same time with one server, which is in a process of its own.
#
#   perl examples/threads.pl [threads [requests]]
#
# An object belongs to the thread that made it: a new thread gets copies that share the connection, so make
# connections in the thread that uses them. To change: what a thread asks, in ask().

use strict;
use warnings;

use Config;
BEGIN { $Config{useithreads} or do { print "This perl has no threads\n"; exit 0 } }
use threads;
use Net::EasyTCP;

my ($threads, $requests) = @ARGV;
$threads  ||= 4;
$requests ||= 100;
$| = 1;

my $server = Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1')
    or die "Cannot create the server: $@\n";
my $port = $server->port;
my $pid  = fork;
defined $pid or die "Cannot fork: $!\n";
if (!$pid) {
    $server->setcallback(data => sub {
        my $client = shift;
        my $number = $client->data;
        eval { $client->send(2 * $number) } or warn "Cannot answer: $@\n";
    }) or die "Cannot set callbacks: $@\n";
    $server->start or die "The server failed: $@\n";
    exit 0;
}
undef $server;    # the child's now

my @running = map { threads->create(\&ask, $_) } 1 .. $threads;
my $sum = 0;
$sum += $_->join for @running;
kill TERM => $pid;
waitpid $pid, 0;
print "$threads threads got $sum right answers\n";

sub ask {
    my $thread = shift;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port)
        or die "Thread $thread cannot connect: $@\n";
    my $right = 0;
    for my $number (1 .. $requests) {
        $client->send($number) or die "Thread $thread cannot send: $@\n";
        my $answer = $client->receive;
        defined $answer or die "Thread $thread got no answer: $@\n";
        $right++ if $answer == 2 * $number;
    }
    $client->close;
    return $right;
}
