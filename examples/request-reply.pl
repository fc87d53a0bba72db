#!/usr/bin/perl
# Requests with numbers: many may be under way at once, and replies find their requests in any order.
#
#   perl examples/request-reply.pl server [port]
#   perl examples/request-reply.pl client [host [port]]
#
# To change: what the server can do, in %DO; what the client asks, at the end.

use strict;
use warnings;

use Net::EasyTCP;

my %DO = (
    add     => sub { my $sum = 0; $sum += $_ for @_; return $sum },
    reverse => sub { return scalar reverse $_[0] },
    time    => sub { return time },
);

my $role = shift || '';
$| = 1;
if    ($role eq 'server') { serve(@ARGV) }
elsif ($role eq 'client') { ask_things(@ARGV) }
else                      { die "Usage: $0 server [port] | client [host [port]]\n" }

sub serve {
    my ($port) = @_;
    my $server = Net::EasyTCP->new(
        mode         => 'server',
        port         => defined $port ? $port : 2345,
        allowclasses => 'none',
        maxmessage   => 1_000_000,
    ) or die "Cannot create the server: $@\n";
    $server->setcallback(data => sub {
        my $client  = shift;
        my $request = $client->data;
        return $client->close if ref $request ne 'HASH' || ref $request->{arguments} ne 'ARRAY';
        my $code  = $DO{ $request->{method} || '' };
        my %reply = (id => $request->{id});
        # A request that fails is the affair of whoever asked, not of the server.
        eval { $reply{result} = ($code || die "no such method\n")->(@{ $request->{arguments} }); 1 }
            or $reply{error} = $@;
        eval { $client->send(\%reply) } or warn "Cannot answer: $@\n";
    }) or die "Cannot set callbacks: $@\n";
    print 'Listening on port ', $server->port, "\n";
    $server->start or die "The server failed: $@\n";
}

sub ask_things {
    my ($host, $port) = @_;
    my $client = Net::EasyTCP->new(
        mode => 'client',
        host => defined $host ? $host : 'localhost',
        port => defined $port ? $port : 2345,
    ) or die "Cannot connect: $@\n";

    my $last = 0;
    my %waiting;    # number => what to do with the reply
    my $request = sub {
        my ($then, $method, @arguments) = @_;
        my %request = (id => ++$last, method => $method, arguments => \@arguments);
        $client->send(\%request) or die "Cannot send: $@\n";
        $waiting{$last} = $then;
    };
    my $show = sub {
        my $what = shift;
        return sub { my $reply = shift; print "$what: ", $reply->{error} || "$reply->{result}\n" };
    };
    $request->($show->('1 + 2 + 3'), 'add',     1, 2, 3);
    $request->($show->('backwards'), 'reverse', 'a man a plan');
    $request->($show->('nonsense'),  'dance');

    while (%waiting) {
        my $reply = $client->receive(30);
        defined $reply or die "No reply: $@\n";
        my $then = delete $waiting{ $reply->{id} } or next;
        $then->($reply);
    }
    $client->close;
}
