#!/usr/bin/perl
# One process of a server behind HAProxy (examples/haproxy.cfg), which sends everything back.
#
#   perl examples/worker.pl path [seconds]
#
# It listens at a Unix-domain socket and learns from the proxy who its clients are. TERM ends it: clients
# leave within so many seconds, 10 unless given, and none before it was answered.

use strict;
use warnings;

use Net::EasyTCP;

my ($path, $seconds) = @ARGV;
die "usage: $0 path [seconds]\n" if !defined $path;
$seconds = 10 if !defined $seconds;
$| = 1;

my $server = Net::EasyTCP->new(
    mode      => 'server',
    path      => $path,
    pathmode  => '0660',
    proxyfrom => 'unix',
    whenfull  => 'close',
) or die "Cannot create the server: $@\n";

$server->setcallback(
    data => sub {
        my $client  = shift;
        my $message = $client->data;
        $message = $$ if !ref $message && $message eq 'PID';
        $message = $client->remoteip if !ref $message && $message eq 'WHO AM I';
        eval { $client->send($message) } or warn "Cannot answer: $@\n";
    },
    error => sub { my (undef, $text, $kind, $ip) = @_; warn "$kind from $ip: $text\n" },
);
local $SIG{TERM} = sub { $server->finish($seconds) };
print "Listening at $path\n";
$server->start or die "The server failed: $@\n";
