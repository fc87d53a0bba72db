# Clients with callbacks: they connect, negotiate and send without waiting, in a loop of their own or in
# that of another object. Nothing but select here.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Socket::INET;
use OldPeer;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_KEEPALIVE);
use Net::EasyTCP;

my $PATIENCE = 30;
my $echo     = spawn_server();

sub async {
    my %o = (mode => 'client', host => '127.0.0.1', async => 1, @_);
    return Net::EasyTCP->new(%o) || die $@;
}

# Goes round in the loop of an object until the condition holds.
sub process_until {
    my ($object, $condition) = @_;
    my $late = time + $PATIENCE;
    until ($condition->()) {
        $object->process(0.1) or die "process: $@";
        return 0 if time > $late;
    }
    return 1;
}

# ---- a conversation ----------------------------------------------------------------------------

{
    my @seen;
    my $client = async(port => $echo->{port});
    isa_ok($client, 'Net::EasyTCP');
    is($client->mode,       'client', 'is a client');
    is($client->encryption, undef,    'has agreed on nothing yet');
    is($client->socket,     undef,    'and has no socket to show');
    is($client->data,       undef,    'and no data');
    is(
        $client->setcallback(
            connect    => sub { push @seen, 'connect', scalar @_ },
            data       => sub { push @seen, scalar $_[0]->data },
            disconnect => sub { push @seen, 'disconnect', $_[1] },
            error      => sub { push @seen, "error: $_[1]" },
        ),
        1,
        'setcallback'
    );
    is($client->send('first'), 1, 'send() before it is connected');
    is($client->send({ two => [ 0.1 + 0.2 ] }), 1, 'of a structure, too');
    is($client->send("\x{e9}"), 1, 'of letters beyond ASCII');
    is($client->send("\x{100}"), undef, 'but not of wide ones');
    is($@, 'Error sending data: Wide character in data', 'with the usual text');
    ok($client->queued > 5, 'they are queued');
    is_deeply(\@seen, [], 'nothing has happened yet');
    ok(process_until($client, sub { @seen >= 5 }), 'served by process()');
    is_deeply([ @seen[ 0 .. 2 ] ], [ 'connect', 1, 'first' ], 'connected, then the first answer');
    is_deeply($seen[3], { two => [ 0.1 + 0.2 ] }, 'numbers are exact in what was queued before');
    is($seen[4], "\x{e9}", 'and the third');
    is($client->queued, 0, 'nothing is queued any more');
    is($client->remoteport, $echo->{port}, 'remoteport');
    is($client->{_remoteport}, $echo->{port}, 'in its slot, too');
    ok($client->encryption, 'encryption was agreed on');
    isa_ok($client->socket, 'IO::Socket');
    @seen = ();
    is($client->send("m$_"), 1, "message $_") for 1 .. 3;
    process_until($client, sub { @seen == 3 });
    is_deeply(\@seen, [qw(m1 m2 m3)], 'all came back');
    @seen = ();
    is($client->send('QUIT'), 1, 'the server is to close');
    process_until($client, sub { @seen >= 3 });
    is_deeply(\@seen, [ 'QUIT', 'disconnect', '' ], 'told of the end, with an empty reason');
    is($client->send('x'), undef, 'nothing can be sent now');
    is($@, 'Error sending data: Socket handle not supplied', 'with the usual text');
    is($client->socket, undef, 'the socket is closed');
    ok($client->encryption, 'what was agreed on is still known');
    ok($client->process, 'its loop still runs');
    is($client->close, 1, 'close() is harmless');
}

# start, stop, running, pollfd, polltimeout, attach.
{
    my $client = async(port => $echo->{port});
    is($client->running, undef, 'running() before start');
    my $running;
    $client->setcallback(data => sub { my $d = $_[0]->data; $running = $_[0]->running; $_[0]->stop });
    $client->send('go');
    is($client->start, 1, 'start');
    is($running, 1, 'running() meanwhile');
    is($client->running, 0, 'and afterwards');
    like($client->pollfd, qr/\A\d+\z/, 'pollfd');
    isa_ok($client->pollhandle, 'IO::Handle');
    $client->process;
    is($client->polltimeout, undef, 'it waits for nothing but the server');
    my $got;
    $client->setcallback(data => sub { $got = $_[0]->data });
    $client->process;
    $client->send('by select');
    until (defined $got) {
        vec(my $bits = '', fileno $client->pollhandle, 1) = 1;
        select($bits, undef, undef, $PATIENCE) or last;
        $client->process;
    }
    is($got, 'by select', 'the descriptor tells of messages');
    is($client->attach('Libevil'), undef, 'attach');
    is($@, 'Unknown event loop Libevil', 'with the usual text');
    foreach my $method (qw(clients addclientip port localip client)) {
        is($client->$method('127.0.0.1'), undef, "$method is for servers");
        is($@, "client cannot use method $method()", 'and says so');
    }
}

# ---- in the loop of another object --------------------------------------------------------------

{
    my ($server, $port) = new_server();
    my @seen;
    $server->setcallback(data => sub { $_[0]->send('re ' . $_[0]->data) },
        disconnect => sub { push @seen, 'left' });
    my @clients = map { async(port => $port, loop => $server) } 1 .. 3;
    my @more    = async(port => $port, loop => $clients[1]);
    foreach my $client (@clients, @more) {
        $client->setcallback(data => sub { push @seen, scalar $_[0]->data; $_[0]->close });
        $client->send('a');
    }
    is(fileno $clients[0]->pollhandle, fileno $server->pollhandle, 'one descriptor for all');
    ok(process_until($clients[2], sub { @seen == 8 }), 'one loop for all');
    is_deeply([ sort @seen ], [ ('left') x 4, ('re a') x 4 ], 'a server and its clients in one process');
    is($server->clients, undef, 'they are no clients of the server any more');

    my $last = async(port => $port, loop => $server);
    process_until($server, sub { $server->clients });
    is_deeply([ map { $_->serial == $last->serial } $server->clients ], [''],
        'and were not confused with its own');
    undef $server;
    is($last->process, undef, 'the loop went with the server');
    is($@, 'The loop of this client is gone', 'which is said');
    is($last->send('x'), undef, 'nothing can be sent then');
    is($last->stop, 1, 'stop() is harmless');
    is($last->running, undef, 'running(), too');
}

# The loop goes, and with it the connection: also that of a client whose handle the program has seen.
for my $kind (qw(server client)) {
    my ($server, $port) = new_server();
    my $left = 0;
    $server->setcallback(disconnect => sub { $left++ });
    my $host = $kind eq 'server' ? new_server() : async(port => $port);
    my $client = async(port => $port, loop => $host);
    my $late = time + $PATIENCE;
    until ($client->socket || time > $late) { $_->process for $server, $host }
    my $handle = $client->socket;
    ok($handle, "a client in the loop of a $kind has a handle");
    my $expected = $kind eq 'server' ? 1 : 2;
    undef $host;
    is($client->socket, undef, 'none when the loop is gone');
    is(fileno $handle, undef, 'it is closed');
    ok(process_until($server, sub { $left == $expected }), 'and the other end hears of it');
}

# A client that is dropped is disconnected; what it was told to send arrives.
{
    my ($server, $port) = new_server();
    my @seen;
    $server->setcallback(
        connect    => sub { push @seen, 'connect' },
        data       => sub { push @seen, length $_[0]->data },
        disconnect => sub { push @seen, 'disconnect' },
    );
    my $client = async(port => $port, loop => $server, donotcompress => 1);
    process_until($server, sub { @seen });
    process_until($server, sub { $client->encryption });
    $client->send('x' x 3_000_000);
    undef $client;
    process_until($server, sub { @seen == 3 });
    is_deeply(\@seen, [ 'connect', 3_000_000, 'disconnect' ], 'dropped in the loop of a server');
    @seen = ();
    my $dropped = async(port => $port, loop => $server);
    undef $dropped;
    $server->process for 1 .. 3;
    is_deeply(\@seen, [], 'dropped before it could connect');
    for my $when (qw(connect data disconnect)) {
        my $called = 0;
        my $own = async(port => $port, loop => $server);
        $server->setcallback(data => sub {
            $_[0]->send('x') if $_[0]->data ne 'end';
            $_[0]->close if $when eq 'disconnect';
        });
        $own->setcallback($when => sub { $called++; undef $own });
        $own->send('begin');
        process_until($server, sub { $called });
        $server->process for 1 .. 3;
        is($called, 1, "dropped in its $when callback");
    }
}

# Nor is the object told in whose loop it was, when what it was told to send cannot arrive.
{
    my ($server) = new_server();
    my $far = spawn_server(callbacks => { data => sub { $_[0]->send('y'); sleep 100 } });
    my (@errors, $got);
    $server->setcallback(error => sub { push @errors, $_[1] });
    my $client = async(port => $far->{port}, loop => $server, donotcompress => 1);
    $client->setcallback(data => sub { $got = $_[0]->data });
    $client->send('x');
    process_until($server, sub { $got });
    $client->send('x' x 50_000_000);
    ok($client->queued, 'much waits');
    undef $client;
    $far->kill;
    $server->process(0.01) for 1 .. 10;
    is_deeply(\@errors, [], 'what a dropped client loses is no error of the server');
    is($server->stats->{failed_negotiation}, 0, 'and is not counted as one');
}

# A server that speaks first: what it sends may come in one read with the end of the negotiation.
{
    my @policies = (
        ['TLS'],
        [ 'a cipher',   donotencryptwith => 'TLS' ],
        [ 'clear text', donotencrypt     => 1 ],
    );
    for my $policy (@policies) {
        my ($name, @options) = @$policy;
        my ($server, $port) = new_server(@options);
        $server->setcallback(connect => sub { my $client = shift; $client->send("hello $_") for 1 .. 3 });
        for my $in_loop (0, 1) {
            my @got;
            my $client = async(port => $port, $in_loop ? (loop => $server) : ());
            $client->setcallback(data => sub { push @got, scalar $_[0]->data });
            my $late = time + $PATIENCE;
            while ((!@got || $got[-1] ne 'hello 3') && time < $late) { $_->process for $server, $client }
            is_deeply(\@got, [ map {"hello $_"} 1 .. 3 ], "a server's first words, $name, loop $in_loop");
        }
    }
}

# ---- failures ------------------------------------------------------------------------------------

{
    my @seen;
    my $client = async(port => free_port());
    $client->setcallback(map {
        my $name = $_;
        ($name => sub { push @seen, $name, @_[ 1 .. $#_ ] });
    } qw(connect disconnect error));
    $client->send('kept');
    process_until($client, sub { @seen });
    like($seen[1], qr/^Could not connect to 127\.0\.0\.1:\d+: Connection refused\z/,
        'a refused port is told as new() would');
    is("@seen[0, 2]", 'error connect', 'to the error callback, with its kind');
    is($client->send('x'), undef, 'and that was it');
    is($client->polltimeout, undef, 'there is no other attempt');
    is($client->queued, 0, 'what was queued is dropped');

    foreach my $case (
        [ { host => undef }, 'Invalid host' ], [ { port => undef }, 'Invalid port' ],
        [ { whenfull => 'wait' }, q{Invalid whenfull 'wait': must be fail or close for a client with async} ],
        [ { reconnect => [ 2, 1 ] },
            'Invalid reconnect: must be 1, or a reference to an array of two numbers of seconds' ],
        [ { reconnect => [ 1 ] },
            'Invalid reconnect: must be 1, or a reference to an array of two numbers of seconds' ],
        [ { keepalive => 'x' }, q{Invalid keepalive 'x': must be seconds, or 0 for never} ],
        [ { loop => 'x' }, 'Invalid loop: must be a server, or a client with async' ],
        [ { loop => bless {}, 'Net::EasyTCP' }, 'Invalid loop: must be a server, or a client with async' ],
        [ { handle => 'x' }, 'handle is not a connected socket' ],
        [ { handle => \*STDIN }, 'handle is not a connected socket' ],
        [ { handle => \*STDIN, reconnect => 1 }, 'handle and reconnect contradict each other' ],
    ) {
        my ($options, $text) = @$case;
        my %o = (mode => 'client', host => '127.0.0.1', port => $echo->{port}, async => 1, %$options);
        is(Net::EasyTCP->new(%o), undef, "new() fails: $text");
        is($@, $text, 'and says why');
    }
    is(Net::EasyTCP->new(mode => 'client', host => 'no.such.host.invalid', port => 1, async => 1), undef,
        'an unknown name');
    like($@, qr/^Could not connect to no\.such\.host\.invalid:1: /, 'is told by new()');

    my $locked = spawn_server(password => 'right');
    @seen = ();
    $client = async(port => $locked->{port}, password => 'wrong', reconnect => [ 0.01, 0.02 ]);
    $client->setcallback(error => sub { push @seen, @_[ 1, 2 ] });
    process_until($client, sub { @seen });
    like($seen[0], qr/^Error negotiating with server: /, 'a wrong password is told');
    is($seen[1], 'password', 'with its kind');
    is($client->polltimeout, undef, 'and ends it in spite of reconnect');
    is($client->send('x'), undef, 'for good');
    @seen = ();
    $client = async(port => $locked->{port}, password => 'right');
    $client->setcallback(data => sub { push @seen, scalar $_[0]->data });
    $client->send('in');
    process_until($client, sub { @seen });
    is("@seen", 'in', 'the right one is taken');
}

# ---- again ---------------------------------------------------------------------------------------

{
    my $port   = free_port();
    my @seen;
    my $client = async(port => $port, reconnect => [ 0.01, 0.05 ]);
    $client->setcallback(
        connect    => sub { push @seen, 'connect' },
        data       => sub { push @seen, scalar $_[0]->data },
        disconnect => sub { push @seen, 'disconnect'; $_[0]->send('kept') },
        error      => sub { push @seen, 'error' },
    );
    $client->send('early');
    process_until($client, sub { @seen == 3 });
    is_deeply(\@seen, [ ('error') x 3 ], 'it tries again');
    ok(defined $client->polltimeout, 'and will');
    foreach my $time (1, 2) {
        my $server = Net::EasyTCP->new(mode => 'server', port => $port) or die $@;
        my $host;
        $server->setcallback(connect => sub { $host = $_[0] },
            data => sub { $_[0]->send("$time " . $_[0]->data) });
        @seen = ();
        until (grep { /^\d/ } @seen) { $server->process(0.01); $client->process(0.01) }
        @seen = grep { $_ ne 'error' } @seen;
        is_deeply(\@seen, [ 'connect', $time == 1 ? '1 early' : '2 kept' ],
            "start $time of a server: connected, and what was kept arrives");
        undef $server;
        undef $host;
        @seen = ();
        process_until($client, sub { grep { $_ eq 'disconnect' } @seen });
    }
    $client->close;
    my $told = @seen;
    is($client->polltimeout, undef, 'close() ends it');
    $client->process(0.1);
    is(scalar @seen, $told, 'nothing happens any more');
}

# ---- full queues ---------------------------------------------------------------------------------

{
    my ($server, $port) = new_server(donotcompress => 1);
    my ($drained, $got, $host) = (0, 0);
    $server->setcallback(connect => sub { $host = $_[0] }, data => sub { $got++; my $d = $_[0]->data });
    my $client = async(port => $port, donotcompress => 1, highwater => 1_000_000);
    $client->setcallback(drain => sub { $drained++; is($_[0]->queued, 0, 'drained: nothing is queued') });
    my $sent = 0;
    $sent++ while $sent < 1000 && $client->send('x' x 50_000);
    is($@, 'Output queue is full', 'send() fails when too much is queued before there is a connection');
    ok($sent > 15 && $sent < 30, 'near the limit');
    until ($drained) { $server->process; $client->process }
    until ($got == $sent) { $server->process; $client->process }
    is($got, $sent, 'all arrives');
    $drained = 0;
    my $more = 0;
    $more++ while $more < 1000 && $client->send('x' x 50_000);
    is($@, 'Output queue is full', 'and when there is one');
    ok($client->queued > 900_000, 'much is queued');
    until ($drained) { $server->process; $client->process }
    until ($got == $sent + $more) { $server->process; $client->process }
    is($got, $sent + $more, 'again all arrives');
    is($client->send('x'), 1, 'and there is room again');

    # What is queued leaves within send(), and much is queued again before the loop can tell.
    my ($all, $before) = ($sent + $more + 1, -1);
    $drained = 0;
    $all += $client->send('x' x 50_000) until $client->queued > 100_000;
    until ($got == $before) { $before = $got; $server->process(0.01) }
    $all++ while $client->send('x' x 50_000);
    until ($got == $all) { $client->process; $server->process }
    is($drained, 1, 'drained: told once');

    my @ends;
    my $closing = async(port => $port, donotcompress => 1, highwater => 100_000, whenfull => 'close');
    $closing->setcallback(disconnect => sub { push @ends, $_[1] });
    until ($closing->encryption) { $server->process; $closing->process }
    1 while $closing->send('x' x 50_000);
    is($@, 'Output queue is full', 'whenfull close: send() fails');
    process_until($closing, sub { @ends });
    is_deeply(\@ends, ['too much output is queued'], 'and the connection ends');
}

# Clients of a server: their callback, drain.
{
    my ($server, $port) = new_server(donotcompress => 1, donotencrypt => 1);
    my @drained;
    $server->setcallback(
        connect => sub {
            $_[0]->send('x' x 16_000_000);
            is($_[0]->queued > 0, 1, 'queued() of a client of a server');
        },
        drain   => sub { push @drained, $_[0]->queued; },
    );
    my $child = spawn(sub {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        $_[0]->hear;
        $_[0]->report(length $client->receive);
        $_[0]->hear;
    });
    process_until($server, sub { $server->clients });
    $child->tell('read');
    process_until($server, sub { @drained });
    is_deeply(\@drained, [0], 'drain is called for it');
    is($child->line, 16_000_000, 'which has received it');
    $child->tell('end');
}

# ---- a connection made elsewhere -----------------------------------------------------------------

foreach my $async (0, 1) {
    my $name = $async ? 'async' : 'blocking';
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $echo->{port}) or die $@;
    my $client = Net::EasyTCP->new(mode => 'client', handle => $sock, async => $async) or die $@;
    close $sock;
    $client->send('over it');
    my $got;
    if ($async) {
        $client->setcallback(data => sub { $got = $_[0]->data });
        process_until($client, sub { defined $got });
    }
    else { $got = $client->receive }
    is($got, 'over it', "$name: over a connection of the program");
    is($client->remoteport, $echo->{port}, 'it knows its peer');
}
{
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $@;
    my $closed   = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listener->sockport) or die $@;
    close $listener->accept;
    my @seen;
    my $client = async(handle => $closed);
    $client->setcallback(error => sub { push @seen, $_[2] });
    process_until($client, sub { @seen });
    is("@seen", 'negotiation', 'one whose other end closes');
}

foreach my $object (
    [ 'a client' => sub {
        return (Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port},
            keepalive => $_[0]));
    } ],
    [ 'an async client' => sub {
        my $client = async(port => $echo->{port}, keepalive => $_[0]);
        process_until($client, sub { $client->encryption });
        return $client;
    } ],
    [ 'a client of a server' => sub {
        my ($server, $port) = new_server(keepalive => $_[0]);
        my $client = async(port => $port, loop => $server);
        process_until($server, sub { $server->clients });
        my ($hybrid) = $server->clients;
        return ($hybrid, $server, $client);
    } ],
) {
    my ($name, $make) = @$object;
    foreach my $seconds (0, 30) {
        my ($made, @kept) = $make->($seconds);
        my $on = unpack 'i', getsockopt($made->socket, SOL_SOCKET, SO_KEEPALIVE);
        is($on ? 1 : 0, $seconds ? 1 : 0, "keepalive => $seconds of $name");
    }
}

# Nothing tells one Unix-domain socket from another: what was spoken over one demands nothing of the next.
SKIP: {
    skip 'TLS cannot be had', 2 if !tls_usable();
    for my $options ([], [ donotencrypt => 1 ]) {
        my $server = Net::EasyTCP->new(mode => 'server', listen => 0, @$options) or die $@;
        socketpair(my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
        $server->adopt($here) or die $@;
        my $told;
        my $client = Net::EasyTCP->new(mode => 'client', async => 1, handle => $there, loop => $server)
            or die $@;
        $client->setcallback(
            connect => sub { $told = $_[0]->encryption || 'clear' },
            error   => sub { $told = $_[1] },
        );
        process_until($server, sub { defined $told });
        is($told, @$options ? 'clear' : 'TLS', 'a socket that was handed over');
    }
}

# ---- other processes -----------------------------------------------------------------------------

# A child goes on with the attempt of its parent, by one of its own.
{
    my ($server, $port) = new_server();
    my $client = async(port => $port);
    my @seen;
    $client->setcallback(data => sub { push @seen, scalar $_[0]->data });
    $client->send('who');
    $client->process;    # it connects, and the server has not said anything yet
    my $child = spawn(sub {
        my $me = shift;
        $client->setcallback(data => sub { $me->report(scalar $_[0]->data); $_[0]->stop });
        $client->start;
    });
    $server->setcallback(data => sub { $_[0]->send('re ' . $_[0]->data) });
    my $line;
    until (defined $line) { $server->process(0.01); $line = $child->poll }
    is($line, 're who', 'in a child');
    until (@seen) { $server->process(0.01); $client->process }
    is("@seen", 're who', 'and in its parent');
}

# ---- old servers ---------------------------------------------------------------------------------

foreach my $version (qw(0.05 0.19 0.26)) {
    my $peer = spawn_peer(
        sub {
            my ($me, $peer) = @_;
            while (defined(my $message = $peer->receive)) { $peer->send($message) or last }
        },
        version => $version
    );
    my @seen;
    my $client = async(port => $peer->{port});
    $client->setcallback(connect => sub { $_[0]->send('one') }, data => sub {
        push @seen, scalar $_[0]->data;
        $_[0]->send('two') if @seen == 1;
    });
    process_until($client, sub { @seen == 2 });
    is("@seen", 'one two', "a server of $version");
    $peer->kill;
}

# Exceptions go through, and nothing is lost.
{
    my $client = async(port => $echo->{port});
    my @seen;
    $client->setcallback(
        connect    => sub { die "connect\n" },
        data       => sub { push @seen, scalar $_[0]->data; die "data\n" if @seen == 1 },
        disconnect => sub { die "disconnect\n" },
    );
    $client->send($_) for 1 .. 3;
    my @died;
    until (@seen == 3) { eval { $client->process(0.1); 1 } or push @died, $@ }
    $client->send('QUIT');
    until (@died == 3) { eval { $client->process(0.1); 1 } or push @died, $@ }
    is_deeply(\@died, [ "connect\n", "data\n", "disconnect\n" ], 'each goes through');
    is_deeply(\@seen, [ 1 .. 3, 'QUIT' ], 'each message came once');
}

# All connections of a loop are read into the same memory: what receive() leaves there of one must not be
# written over by what comes for another.
{
    my $server = Net::EasyTCP->new(mode => 'server', listen => 0, donotencrypt => 1, donotcompress => 1)
        or die $@;
    my (@there, @here);
    $server->setcallback(connect => sub { push @there, $_[0] });
    foreach my $name (qw(first second)) {
        socketpair(my $one, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
        $server->adopt($one) or die $@;
        push @here, async(handle => $other, loop => $server, donotencrypt => 1, donotcompress => 1);
        process_until($server, sub { @there == @here && $here[-1]->socket });
    }
    $here[0]->send($_) for 'one', 'two';
    $here[1]->send('x' x 1000);
    is($there[0]->receive(-1), 'one', 'the first of two messages');
    is(length $there[1]->receive(-1), 1000, 'a longer one, of another client of this server');
    is($there[0]->receive(-1), 'two', 'the second is as it was');
}

# Blocking clients are as they were.
{
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port},
        loop => 'ignored') or die $@;
    foreach my $method (qw(setcallback start do_one_loop process pollfd running)) {
        is($client->$method, undef, "no $method for a blocking client");
        is($@, "client cannot use method $method()", 'and it says so');
    }
    is($client->queued, 0, 'queued() of it');
}

done_testing();
