#!/usr/bin/perl
# Asks a server of Net::EasyTCP in a loop of IO::Async: several requests at once, each a Future.
#
#   perl examples/request-reply.pl server
#   perl examples/io-async-requests.pl [host [port]]
#
# Needs IO::Async and Future.
#
# To change: what is asked, at the end, and how long an answer may take.

use strict;
use warnings;

use Future;
use IO::Async::Loop;
use Net::EasyTCP;

my ($host, $port) = @ARGV;
my $loop   = IO::Async::Loop->new;
my $client = Net::EasyTCP->new(
    mode  => 'client',
    host  => defined $host ? $host : 'localhost',
    port  => defined $port ? $port : 2345,
    async => 1,
) or die "Cannot make the client: $@\n";
$client->attach($loop) or die "Cannot attach: $@\n";

# A Future of what the server answers.
sub ask {
    my ($method, @arguments) = @_;
    my $future = $client->request_f({ method => $method, arguments => \@arguments }, timeout => 10)
        or die "Cannot ask: $@\n";
    return $future->then(sub {
        my $reply = shift;
        return defined $reply->{error} ? Future->fail($reply->{error}) : Future->done($reply->{result});
    });
}

# All of them, or the first that fails.
my @words = Future->needs_all(map { ask(reverse => $_) } qw(eno owt eerht))->get;
print "All: @words\n";

# One after the other: what is asked depends on what was answered.
my $sum = ask(add => 1, 2)->then(sub { ask(add => shift, 3) })->get;
print "Sum: $sum\n";

# What fails is a Future that fails.
my $text = ask('dance')->else(sub { Future->done("it failed: $_[0]") })->get;
chomp $text;
print "Dance: $text\n";
