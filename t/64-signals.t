# Signals: handlers run while new, receive, start and do_one_loop wait; die in them gets out; an
# interrupted call loses nothing.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use IO::Socket::INET;
use POSIX ();
use Net::EasyTCP;

# ---- alarm and die -----------------------------------------------------------------------------

{
    # A listening socket that nobody accepts from: the negotiation never begins.
    my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5, Proto => 'tcp');
    my $client;
    is(with_alarm(sub {
        $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $mute->sockport);
    }), "alarm rang\n", 'alarm and die get out of new()');
    ok(!defined $client, 'no object');
}

my $echo = spawn_server();
my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or BAIL_OUT($@);
foreach my $timeout ([], [60]) {
    is(with_alarm(sub { $client->receive(@$timeout) }), "alarm rang\n",
        "alarm and die get out of receive(@$timeout)");
    $client->send("after @$timeout");
    is($client->receive, "after @$timeout", 'the connection goes on');
}
{
    my ($server) = new_server();
    is(with_alarm(sub { $server->start }), "alarm rang\n", 'alarm and die get out of start()');
    is($server->running, 1, 'running() stays true, as with any exception');
    is(with_alarm(sub { $server->do_one_loop while 1 }), "alarm rang\n",
        'alarm and die get out of do_one_loop()');
    is(with_alarm(sub { $server->start(sub { 1 }) }), "alarm rang\n", 'alarm and die get out of start(code)');

    local $SIG{ALRM} = sub { $server->stop };
    ring_soon();
    is($server->start, 1, 'stop() in a handler ends start()');
    is($server->running, 0, 'as it should');
}
{
    # send() to somebody who does not read
    my $child = spawn_peer(sub { $_[0]->hear }, version => '0.26');
    my $stuck = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port},
        donotcompress => 1);
    is(with_alarm(sub { $stuck->send('x' x 50_000_000) }), "alarm rang\n", 'alarm and die get out of send()');
    $child->kill;
}

{
    # A handler that drops the object whose method it interrupts.
    my $child = spawn_peer(sub { $_[0]->hear }, version => '0.26');
    my $doomed;
    local $SIG{ALRM} = sub { undef $doomed };
    foreach my $call ([ 'receive()' => sub { $doomed->receive(1) } ],
        [ 'send()' => sub { $doomed->send('x' x 50_000_000) } ]) {
        my ($name, $code) = @$call;
        $doomed = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port},
            donotcompress => 1, sendtimeout => 2) or die $@;
        ring_soon();
        is($code->(), undef, "$name of an object that a handler drops fails");
        ok(!defined $doomed, 'it is gone');
        $child->kill;
        $child = spawn_peer(sub { $_[0]->hear }, version => '0.26');
    }
    $child->kill;
    my ($server) = new_server();
    $SIG{ALRM} = sub { undef $server };
    ring_soon();
    is($server->start(sub { $_[0]->stop if !defined $server }), 1,
        'start() of a server that a handler drops');
}

{
    # A handler that drops the object and leaves the method. An exception frees what is temporary before
    # anything else; AddressSanitizer sees what goes wrong.
    my $doomed;
    my $large = 'x' x 50_000_000;
    foreach my $call ([ receive => 10 ], [ send => $large ], ['close']) {
        my ($name, @arguments) = @$call;
        my $child = spawn_peer(sub { $_[0]->hear }, version => '0.26');
        $doomed = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port},
            donotcompress => 1, sendtimeout => 1) or die $@;
        with_alarm(sub { $doomed->send($large) }) if $name eq 'close';    # much of it is left
        local $SIG{ALRM} = sub {
            undef $doomed;
            $child->kill;    # or the object waits, as it goes, for what was sent to arrive
            die "dropped\n";
        };
        ring_soon();
        ok(!eval { $doomed->$name(@arguments); 1 }, "$name() is left by a handler that drops the object");
        is($@, "dropped\n", 'with its exception');
        ok(!defined $doomed, 'which is gone');
    }
}

# ---- handlers that return ----------------------------------------------------------------------

# A child that sends SIGUSR1 to this process every so many seconds, but waits until the one before was
# handled: perl dies of 120 signals of one kind that wait for their handler, and on a slow machine they would.
my $pest;
sub pester {
    my $every = shift;
    my $parent = $$;
    $pest = spawn(sub {
        my $me = shift;
        while (defined $me->line && kill 'USR1', $parent) { select undef, undef, undef, $every }
    });
    return next_signal();
}
sub next_signal {
    local $!;
    return $pest->tell('go on');
}

# Signals all the time while messages travel: none is lost or torn.
{
    my $rang = 0;
    local $SIG{USR1} = sub { $rang++; next_signal() };
    pester(0.001);
    my $right = 0;
    my $large = 'signal' x 200_000;
    foreach my $n (1 .. 30) {
        my $message = $n % 3 ? "message $n" : "$n $large";
        $client->send($message) or diag $@;
        my $got = $client->receive;
        $right++ if defined $got && $got eq $message;
    }
    is($right, 30, 'messages arrive whole while signals rain on a client');
    my ($server, $port) = new_server();
    $server->setcallback(data => sub { $_[0]->send($_[0]->data); });
    my $other = spawn(sub {
        my $me = shift;
        my $c = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        my $good = 0;
        foreach my $n (1 .. 30) {
            my $message = $n % 3 ? "message $n" : "$n $large";
            $c->send($message);
            my $got = $c->receive;
            $good++ if defined $got && $got eq $message;
        }
        $me->report("good $good");
    });
    my $line;
    run_until($server, sub { defined($line = $other->poll) });
    is($line, 'good 30', 'and while they rain on a server');
    ok(my $again = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}),
        'new() under signals') or diag $@;
    $pest->kill;
    cmp_ok($rang, '>', 1, "the handler was run ($rang times)");
}

# receive() in a loop with children ending around it.
{
    my $ended = 0;
    local $SIG{CHLD} = sub {
        local ($!, $?);
        $ended++ while waitpid(-1, POSIX::WNOHANG()) > 0;
    };
    my $right = 0;
    foreach my $n (1 .. 20) {
        my $pid = fork;
        if (!$pid) {
            POSIX::_exit(0);
        }
        $client->send("chld $n");
        my $got = $client->receive;
        $right++ if defined $got && $got eq "chld $n";
    }
    is($right, 20, 'SIGCHLD during receive() loses nothing');
    $SIG{CHLD} = 'DEFAULT';
}

# The inactivity limit of receive() is not restarted by signals.
{
    local $SIG{USR1} = \&next_signal;
    pester(0.01);
    is($client->receive(1), undef, 'receive(1) ends although signals keep coming');
    is($@, 'Timed out waiting to receive data', 'by its limit');
    $pest->kill;
}

# A handler that uses the same connection.
{
    local $SIG{ALRM} = sub { $client->send('from the handler') };
    ring_soon();
    is($client->receive(60), 'from the handler',
        'send() in a handler while receive() waits on the same connection');
}

# An ignored SIGCHLD, and no handler at all, change nothing.
{
    local $SIG{CHLD} = 'IGNORE';
    my $pid = fork;
    POSIX::_exit(0) unless $pid;
    $client->send('ignored');
    is($client->receive, 'ignored', 'SIGCHLD ignored');
}

# SIGPIPE never reaches the program.
{
    my $piped = 0;
    local $SIG{PIPE} = sub { $piped++ };
    my $child = spawn_peer(sub { $_[1]->reset_connection; $_[0]->report('closed') }, version => '0.26');
    my $doomed = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port}) or die $@;
    $child->line;
    my $failed = 0;
    foreach (1 .. 5) { $doomed->send('x' x 100_000) or $failed++ }
    cmp_ok($failed, '>', 0, 'send() to a peer that is gone fails');
    like($@, qr/^Error (?:writing to socket while )?sending data: \S/, 'with a text');
    is($piped, 0, 'and no SIGPIPE');
    $child->kill;
}
{
    my $child = spawn(sub {
        my $me = shift;
        $SIG{PIPE} = 'DEFAULT';
        my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
        my $gone;
        $server->setcallback(
            data => sub { $_[0]->data; $_[0]->send('x' x 100_000) foreach 1 .. 20 },
            disconnect => sub { $_[0]->send('y' x 100_000) foreach 1 .. 5; $gone = 1 },
        );
        $me->report($port);
        $server->do_one_loop until $gone;
        $me->report('lived');
    });
    my $peer = OldPeer->client(version => '0.19', port => $child->line) or die OldPeer->error;
    $peer->send('now');
    $peer->receive;
    $peer->reset_connection;
    is($child->line, 'lived', 'a server is not killed by SIGPIPE either');
    is($child->wait, 0, 'it ends well');
}

$client->close;
$echo->kill('TERM');
done_testing();
