# Several servers and clients in one process; a server and its own client in one process.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use POSIX ();
use Net::EasyTCP;

# Two servers, looped in turn, each with its own clients.
{
    my (@servers, @ports, @got);
    foreach my $n (0, 1) {
        ($servers[$n], $ports[$n]) = new_server(donotencrypt => 1, donotcompress => 1);
        $servers[$n]->setcallback(data => sub {
            my $data = $_[0]->data;
            push @{ $got[$n] }, $data;
            $_[0]->send("server $n: $data");
        });
    }
    my $idle = sub { $_->do_one_loop foreach @servers };
    my @peers = map { OldPeer->client(version => '0.19', port => $ports[ $_ % 2 ], idle => $idle) } 0 .. 5;
    is(scalar(grep { $_ } @peers), 6, 'six clients of two servers');
    $peers[$_]->send("peer $_") foreach 0 .. 5;
    is($peers[$_]->receive, 'server ' . $_ % 2 . ": peer $_", "peer $_ has its answer") foreach 0 .. 5;
    is_deeply([ map { scalar $_->clients } @servers ], [ 3, 3 ], 'three clients each');
    is_deeply([ sort @{ $got[0] } ], [ 'peer 0', 'peer 2', 'peer 4' ], 'no server heard the other\'s');

    # Serial numbers are counted once per process.
    my %serial = map { $_->serial => 1 } map { $_->clients } @servers;
    is(scalar keys %serial, 6, 'six different serial numbers');

    # Dropping one leaves the other alone.
    undef $servers[0];
    @servers = $servers[1];
    $peers[1]->send('still');
    is($peers[1]->receive, 'server 1: still', 'the other server goes on');
    $peers[0]->{idle} = $idle;
    ok(!defined $peers[0]->receive, 'clients of the dropped one see the end');
}

# Objects of clients that the program holds outlive their server.
{
    my ($own, $own_port) = new_server();
    my (@held, @got);
    $own->setcallback(connect => sub { push @held, $_[0] }, data => sub { push @got, scalar $_[0]->data });
    my $child = spawn(sub {
        my $me = shift;
        undef $own;
        my @c = map { Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $own_port) } 1, 2;
        $c[0]->send($_) foreach qw(first second third);
        $me->report($c[0]->receive);
        $c[0]->send([ 'list', 'x' x 200_000 ]);
        $me->report($c[0]->receive);
        $me->report(defined $c[1]->receive ? 'something' : $@);
        $me->report(defined $c[0]->receive ? 'something' : $@);
    });
    run_until($own, sub { @held == 2 && @got });
    my ($held) = sort { $a->serial <=> $b->serial } @held;
    @held = ();
    undef $own;
    ok(!Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $own_port),
        'a dropped server accepts nobody');
    push @got, $held->receive(60) while @got < 3;
    is_deeply(\@got, [qw(first second third)], 'what was on its way is kept');
    ok($held->send('alive'), 'send() without the server');
    is($child->line, 'alive', 'arrives');
    is(length $held->receive->[1], 200_000, 'receive() without the server');
    ok($held->send('y' x 3_000_000), 'more than the kernel takes at once');
    is($child->line, 'y' x 3_000_000, 'arrives');
    is($child->line, 'Socket closed when attempted reading', 'a client that nobody held saw the end');
    is($held->close, 1, 'close()');
    is($child->line, 'Socket closed when attempted reading', 'ends this one');
}

# The pattern of a forking server: the child goes on with its client, without the server.
{
    my ($own, $own_port) = new_server();
    my $forked = 0;
    $own->setcallback(connect => sub {
        my $client = shift;
        $forked++;
        if (!fork) {
            $EasyTCPTest::Watchdog = undef;
            undef $own;
            $client->send("child: $_") while defined($_ = $client->receive);
            POSIX::_exit(0);
        }
        $client->close;
    });
    my $child = spawn(sub {
        my $me = shift;
        my $c = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $own_port) or die $@;
        foreach my $n (1 .. 20) {
            $c->send($n);
            my $reply = $c->receive(60);
            $me->report(defined $reply ? $reply : $@);
        }
        $c->close;
        $me->report('over');
    });
    my @lines;
    run_until($own, sub { while (defined(my $line = $child->poll)) { push @lines, $line } @lines > 20 });
    is_deeply(\@lines, [ (map { "child: $_" } 1 .. 20), 'over' ], 'a forked child serves its client');
    is($forked, 1, 'one fork');
    wait;
}

# A server inside a callback of another server.
{
    my ($outer, $outer_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my ($inner, $inner_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my $inner_got = 0;
    $inner->setcallback(data => sub { $inner_got++; $_[0]->send($_[0]->data) });
    my $helper = spawn(sub {
        my $me = shift;
        $me->hear;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $inner_port) or die $@;
        $client->send('inner');
        $me->report($client->receive);
        $me->hear;
    });
    $outer->setcallback(data => sub {
        my $client = shift;
        my $data = $client->data;
        $helper->tell('go');
        $inner->do_one_loop until $inner_got;
        $client->send("$data and $inner_got inner");
    });
    my $peer = OldPeer->client(version => '0.19', port => $outer_port, idle => loop_of($outer));
    $peer->send('outer');
    is($peer->receive, 'outer and 1 inner', 'the loop of one server inside a callback of another');
    $helper->kill;
}

# Many clients of one process.
{
    my $echo = spawn_server();
    my @clients = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or die $@;
    } 1 .. 10;
    $clients[$_]->send("client $_") foreach 0 .. 9;
    is($clients[$_]->receive, "client $_", "client $_ has its own answer") foreach reverse 0 .. 9;
    my %serial = map { $_->serial => 1 } @clients;
    is(scalar keys %serial, 10, 'ten serial numbers');
    $clients[3]->close;
    $clients[4]->send('on');
    is($clients[4]->receive, 'on', 'closing one leaves the others');
    $echo->kill('TERM');
}

# The server's loop runs in a SIGALRM handler while its client blocks in the same process.
SKIP: {
    skip 'no Time::HiRes', 3 unless eval {
        require Time::HiRes;
        Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
        1;
    };
    my ($server, $port) = new_server();
    $server->setcallback(data => sub { $_[0]->send('echo ' . $_[0]->data) });
    my $nested = 0;
    local $SIG{ALRM} = sub {
        return if $nested;
        local ($@, $!);
        $nested = 1;
        $server->do_one_loop;
        $nested = 0;
        Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.01);
    };
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.01);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port);
    ok($client, 'new() while SIGALRM runs the server') or diag $@;
    if ($client) {
        ok($client->send('self'), 'send()');
        is($client->receive(60), 'echo self', 'receive() while SIGALRM runs the server');
    }
    Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
}

# A server is the client of another one.
{
    my $back = spawn_server();
    my $front = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server();
        my $up = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $back->{port}) or die $@;
        $server->setcallback(data => sub {
            my $client = shift;
            $up->send($client->data);
            $client->send('via front: ' . $up->receive);
        });
        $me->report($port);
        $server->start;
    });
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $front->line) or die $@;
    foreach my $n (1 .. 20) {
        $client->send("n$n");
        my $got = $client->receive;
        is($got, "via front: n$n", "a relay: $n") if $n == 1 || $n == 20;
    }
    $front->kill;
    $back->kill('TERM');
}

done_testing();
