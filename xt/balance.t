# A listener that four processes share: each gets its part of the connections, in a burst as in a
# trickle. Other work on the machine takes part in who runs when: one good try of several is enough.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Socket::INET;
use Net::EasyTCP;
use Time::HiRes qw(sleep);

my ($connections, $workers, $tries) = (1000, 4, 6);

# How many connections each worker got, when one came every so many milliseconds.
sub spread {
    my $gap_ms   = shift;
    my $listener = IO::Socket::INET->new(Listen => 4096, LocalAddr => '127.0.0.1') or die "listen: $!";
    my @workers  = map {
        spawn(sub {
            my $me     = shift;
            my $count  = 0;
            my $server = Net::EasyTCP->new(mode => 'server', handle => $listener, donotencrypt => 1,
                donotcompress => 1);
            $server->setcallback(connect => sub { $count++ }, data => sub { $_[0]->send($$) });
            local $SIG{TERM} = sub { $me->report($count); POSIX::_exit(0) };
            $me->report('ready');
            $server->start;
        });
    } 1 .. $workers;
    $_->line foreach @workers;
    my @socks = map { sleep $gap_ms / 1000 if $gap_ms; raw_connect($listener->sockport) } 1 .. $connections;
    foreach my $sock (@socks) {
        raw_negotiate($sock);
        write_to($sock, packet(5, 'counted?'));
    }
    read_packet($_) foreach @socks;
    kill 'TERM', $_->pid foreach @workers;
    return map { my $count = $_->line; $_->wait; $count } @workers;
}

foreach my $case ([ 0, 200, 300 ], [ 2, 120, 380 ], [ 20, 120, 380 ]) {
    my ($gap_ms, $least, $most) = @$case;
    my $good = 0;
    foreach my $try (1 .. $tries) {
        my @counts = spread($gap_ms);
        note("gap $gap_ms ms: @counts");
        $good = !grep { $_ < $least || $_ > $most } @counts;
        last if $good;
    }
    ok($good, "$connections connections, $gap_ms ms apart: $least to $most for each of $workers");
}

done_testing();
