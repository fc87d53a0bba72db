#!/usr/bin/perl
# A server in a select loop of the program's own, beside a timer and what is written on the terminal.
#
#   perl examples/select-loop.pl [port [seconds]]
#
# Lines from the terminal go to all clients, and every few seconds the time does. The end of the input
# (Ctrl-D) ends the server. To change: watch more handles, in the loop.

use strict;
use warnings;

use IO::Select;
use Net::EasyTCP;
use Time::HiRes qw(time);

my ($port, $seconds) = @ARGV;
$seconds ||= 5;
$| = 1;

my $server = Net::EasyTCP->new(
    mode     => 'server',
    port     => defined $port ? $port : 2345,
    whenfull => 'fail',    # in a loop nothing may wait for a slow reader
) or die "Cannot create the server: $@\n";
$server->setcallback(data => sub {
    my $client = shift;
    my $text   = $client->data;
    my $answer = ref $text ? 'a structure' : length($text) . ' bytes';
    eval { $client->send($answer) } or warn "Cannot answer: $@\n";
}) or die "Cannot set callbacks: $@\n";
print 'Listening on port ', $server->port, "\n";

my $work   = $server->pollhandle or die "Cannot watch the server: $@\n";
my $select = IO::Select->new($work, \*STDIN);
my $next   = time + $seconds;
while ($select->exists(\*STDIN)) {
    my $left = $next - time;
    for my $handle ($select->can_read($left > 0 ? $left : 0)) {
        if ($handle == $work) {
            $server->process or warn "The server: $@\n";
            next;
        }
        # sysread: a buffer of Perl's would hide lines from select
        if (sysread STDIN, my $lines, 4096) { tell_all($_) for split /\n/, $lines }
        else                                { $select->remove(\*STDIN) }
    }
    if (time >= $next) {
        tell_all('It is ' . localtime);
        $next += $seconds;
    }
}
print "Stopped\n";

sub tell_all {
    my $text = shift;
    defined $server->broadcast($text) or warn "Cannot tell: $@\n";
}
