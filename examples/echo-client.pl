#!/usr/bin/perl
# Sends a string, a hash and two megabytes to an echo server and checks what comes back.
#
#   perl examples/echo-client.pl [host [port [password [last]]]]
#
# The server is localhost:2345 unless given. With a last message, such as QUIT or DIE, that is sent too.

use strict;
use warnings;

use Net::EasyTCP;

my ($host, $port, $password, $last) = @ARGV;
$host = 'localhost' if !defined $host;
$port = 2345 if !defined $port;
$| = 1;

my $client = Net::EasyTCP->new(
    mode     => 'client',
    host     => $host,
    port     => $port,
    password => $password,
) or die "Cannot connect: $@\n";

printf "Connected to %s:%d, compression %s, encryption %s\n", $client->remoteip,
    $client->remoteport, $client->compression || 'none', $client->encryption || 'none';

sub echo_of {
    my $message = shift;
    $client->send($message) or die "Cannot send: $@\n";
    my $reply = $client->receive;
    defined $reply or die "Cannot receive: $@\n";
    return $reply;
}

my $string = 'HELLO THERE';
my $reply  = echo_of($string);
$reply eq $string or die "The string came back as '$reply'\n";
print "A string came back: $reply\n";

my %hash = ('to be or' => 'not to be', 'just another' => 'perl hacker');
$reply = echo_of(\%hash);
for my $key (sort keys %hash) {
    $reply->{$key} eq $hash{$key} or die "The hash came back without its '$key'\n";
    print "A hash came back: $key => $reply->{$key}\n";
}

my $binary = join('', map { chr } 0 .. 255) x 8192;
$reply = echo_of($binary);
$reply eq $binary or die "The two megabytes came back changed\n";
print 'Binary data came back: ', length $reply, " bytes, each value from 0 to 255\n";

if (defined $last) {
    echo_of($last) eq $last or die "$last came back changed\n";
    print "Said $last\n";
}
$client->close or die "Cannot close: $@\n";
