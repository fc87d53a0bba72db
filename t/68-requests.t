# Requests: messages that are answered, in order, by callbacks or by promises of the loop's own library.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my $PATIENCE = 30;
my ($server, $port) = new_server();
$server->setcallback(
    data => sub {
        my ($client, $message) = ($_[0], scalar $_[0]->data);
        return $client->close if $message eq 'close';
        return if $message eq 'silence';
        $client->send(ref $message ? $message : "re $message");
    }
);

# Clients live in the loop of the server.
sub async {
    my %o = @_;
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
        loop => $server, %o) || die $@;
}

sub process_until {
    my ($condition) = @_;
    my $late = time + $PATIENCE;
    until ($condition->()) {
        $server->process(0.1) or die $@;
        return 0 if time > $late;
    }
    return 1;
}

my @got;
sub note_reply {
    my $name = shift;
    return sub { push @got, join ' ', $name, map { defined $_ ? $_ : '-' } @_ };
}

{
    my $client = async();
    my @data;
    $client->setcallback(data => sub { push @data, scalar $_[0]->data });
    is($client->request("m$_", note_reply($_)), 1, "request $_ before it is connected") for 1 .. 3;
    process_until(sub { @got == 3 });
    is_deeply(\@got, [ map { "$_ re m$_ -" } 1 .. 3 ], 'each has its reply');
    @got = ();
    $client->request("n$_", note_reply($_)) for 1 .. 3;
    $client->send('a message');
    process_until(sub { @data });
    is_deeply(\@got, [ map { "$_ re n$_ -" } 1 .. 3 ], 'and when it is connected');
    is_deeply(\@data, ['re a message'], 'what no request has claimed goes to data');
    my $structure;
    $client->request({ a => [1] }, sub { $structure = $_[0] });
    process_until(sub { $structure });
    is_deeply($structure, { a => [1] }, 'a structure');
    my ($inner, @texts);
    $client->request('outer', sub {
        push @texts, $_[0];
        $_[0] && $client->request('inner', sub { push @texts, $_[0]; $inner = 1 });
    });
    process_until(sub { $inner });
    is_deeply(\@texts, [ 're outer', 're inner' ], 'a request in the callback of another');

    @got = ();
    $client->request('silence', note_reply('lost'));
    $client->request('close', note_reply('too'));
    process_until(sub { @got == 2 });
    is_deeply(\@got, [ 'lost - Connection closed', 'too - Connection closed' ],
        'a connection that is lost fails all');
    is($client->request('x', sub { }), undef, 'none can be sent then');
    is($@, 'Error sending data: Socket handle not supplied', 'for the reason of send()');
}

foreach my $case ([ undef, 'nothing' ], [ 'text', 'a text' ], [ {}, 'a hash' ],
    [ (bless sub { }, 'Some'), 'an object' ]) {
    my $client = async();
    is($client->request('x', $case->[0]), undef, "request() with $case->[1] in place of code");
    is($@, 'request() needs a code reference', 'says so');
    is($client->queued, 0, 'and sends nothing');
}
{
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => spawn_server()->{port})
        or die $@;
    is($client->request('x', sub { }), undef, 'a blocking client has no requests');
    is($@, 'client cannot use method request()', 'and says so');
    is($server->request('x', sub { }), undef, 'nor has a server');
    is($@, 'server cannot use method request()', 'which says so, too');
}

# close() tells those that wait; dropping the object does not.
{
    @got = ();
    my $client = async();
    $client->request('silence', note_reply('first'));
    process_until(sub { $client->encryption });
    $client->request('silence', note_reply('second'));
    $client->close;
    is_deeply(\@got, [ map { "$_ - Connection closed" } qw(first second) ], 'close() fails all');
    {
        local $_ = 'mine';
        my $busy = async();
        $busy->request('silence', sub { $_ = 'theirs' }) for 1 .. 3;
        my @values = (1, 2, map({ $_ * 3 } 1 .. 3), $busy->close, $_);
        is("@values", '1 2 3 6 9 1 mine', 'the values around close(), and $_, stay');
    }
    my $kept = async();
    @got = ();
    $kept->request('kept', note_reply('kept'));
    $kept->close;
    is_deeply(\@got, ['kept - Connection closed'], 'those too whose message has not left');
    my $dropped = async();
    $dropped->request('x', note_reply('dropped'));
    @got = ();
    undef $dropped;
    $server->process for 1 .. 3;
    is_deeply(\@got, [], 'nobody hears of a client that is dropped');
}

# Attempts that fail, and those that are made again.
{
    @got = ();
    my $client = async(port => free_port());
    $client->request($_, note_reply($_)) for qw(one two);
    process_until(sub { @got == 2 });
    like($got[0], qr/^one - Could not connect to .*: Connection refused\z/, 'a refused port fails requests');
    like($got[1], qr/^two - Could not connect/, 'all of them');

    @got = ();
    my $free = free_port();
    $client = async(port => $free, reconnect => [ 0.01, 0.02 ]);
    my $errors = 0;
    $client->setcallback(error => sub { $errors++ });
    $client->request('patient', note_reply('patient'));
    process_until(sub { $errors > 2 });
    is_deeply(\@got, [], 'but not with reconnect');
    my $late = Net::EasyTCP->new(mode => 'server', port => $free) or die $@;
    $late->setcallback(data => sub { $_[0]->send('late ' . $_[0]->data) });
    until (@got) { $late->process(0.01); $server->process(0.01) }
    is_deeply(\@got, ['patient late patient -'], 'the reply comes in the end');
    @got = ();
    $late->setcallback(data => sub { my $d = $_[0]->data; $_[0]->close });
    my $gone = 0;
    $client->setcallback(disconnect => sub { $gone++; $_[0]->request('kept', note_reply('kept')) });
    $client->request('lost', note_reply('lost'));
    until (@got) { $late->process(0.01); $server->process(0.01) }
    is_deeply(\@got, ['lost - Connection closed'], 'what had left is lost, and what had not is not');
    $late->setcallback(data => sub { $_[0]->send('late ' . $_[0]->data) });
    until (@got == 2) { $late->process(0.01); $server->process(0.01) }
    is($got[1], 'kept late kept -', 'and has its reply from the next connection');
}

# Time limits.
{
    @got = ();
    my @gone;
    my $client = async();
    $client->setcallback(disconnect => sub { push @gone, $_[1] });
    process_until(sub { $client->encryption });
    $client->request('in no hurry', note_reply('ever'), timeout => 9**9**9);
    $client->request('in time', note_reply('in time'), timeout => 100);
    $client->request('silence', note_reply('late'), timeout => 0.05);
    $client->request('silence', note_reply('behind'), timeout => 100);
    is($client->receive(-1), undef, 'receive() takes no reply away');
    like($@, qr/^async client cannot use method receive\(\)/, 'and says why');
    process_until(sub { @got == 4 });
    is_deeply(
        \@got,
        [ 'ever re in no hurry -', 'in time re in time -', map { "$_ - No reply in time" } qw(late behind) ],
        'a reply that is late ends the connection, and what is behind it'
    );
    is_deeply(\@gone, ['No reply in time'], 'which is told');

    @got = ();
    my $waiting = async(port => free_port(), reconnect => [ 0.01, 0.02 ]);
    $waiting->request('x', note_reply('waiting'), timeout => 100);
    $waiting->request('x', note_reply('kept'), timeout => 0.05);
    my $queued = $waiting->queued;
    process_until(sub { @got });
    is_deeply(\@got, ['kept - No reply in time'], 'time passes while there is no connection, too');
    is($waiting->queued, $queued / 2, 'and the message is not sent any more');
}

# Exceptions: the other requests hear of it all the same.
{
    @got = ();
    my ($client, @died) = async();
    $client->setcallback(disconnect => sub { die "disconnect\n" });
    for my $name (1 .. 3) {
        $client->request('silence', sub { push @got, "$name $_[1]"; die "request $name\n" });
    }
    $client->request('close', note_reply(4));
    my $late = time + $PATIENCE;
    until (@got == 4 || time > $late) { eval { $server->process(0.1); 1 } or push @died, $@ }
    is_deeply(\@got, [ (map { "$_ Connection closed" } 1 .. 3), '4 - Connection closed' ], 'each was told');
    is_deeply(\@died, [ "disconnect\n", map { "request $_\n" } 1 .. 3 ], 'and each exception came through');
}

# A reply that may not come in, by its class.
{
    @got = ();
    my $client = async(allowclasses => 'none');
    $client->request(bless([], 'Some'), note_reply('refused'));
    $client->request('next', note_reply('next'));
    process_until(sub { @got == 2 });
    like($got[0], qr/^refused - Received data refused: .*Some/, 'a refused reply');
    is($got[1], 'next re next -', 'and the next is the next');
}

# Promises.
SKIP: {
    skip 'Mojo::Promise is not installed', 4 if !eval { require Mojo::Promise; require Mojo::IOLoop; 1 };
    @got = ();
    my ($end) = (0);
    my $client = async();
    ok($server->attach('Mojo'), 'attached');
    my $promise = $client->request_p('a promise');
    isa_ok($promise, 'Mojo::Promise');
    $promise->then(sub {
        push @got, $_[0];
        return $client->request_p('close');
    })->catch(sub { push @got, $_[0] })
        ->finally(sub { Mojo::IOLoop->stop });
    my $late = Mojo::IOLoop->timer($PATIENCE => sub { Mojo::IOLoop->stop });
    Mojo::IOLoop->start;
    is_deeply(\@got, [ 're a promise', 'Connection closed' ], 'resolved, and rejected');
    @got = ();
    $client->request_p('x')->catch(sub { push @got, $_[0]; Mojo::IOLoop->stop });
    Mojo::IOLoop->start;
    is_deeply(\@got, ['Error sending data: Socket handle not supplied'], 'rejected at once');
    $server->detach;
}
SKIP: {
    skip 'Future is not installed', 6 if !eval { require Future; 1 };
    my $client = async();
    my $future = $client->request_f('a future');
    isa_ok($future, 'Future');
    process_until(sub { $future->is_ready });
    is($future->get, 're a future', 'done');
    $future = $client->request_f('close');
    process_until(sub { $future->is_ready });
    is(scalar $future->failure, 'Connection closed', 'failed');
    $client = async();
    my $cancelled = $client->request_f('cancelled');
    $cancelled->cancel;
    ok(!$client->request_f('x')->is_ready, 'one behind a cancelled one');
    skip 'IO::Async is not installed', 2 if !eval { require IO::Async::Loop; 1 };
    $server->attach('IO::Async');
    is(ref $client->request_f('y'), 'IO::Async::Future', 'IO::Async has its own');
    is($client->request_f('waited for')->get, 're waited for', 'which can wait');
}
{
    local @INC = ();
    local %INC = map { $_ => $INC{$_} } grep { !m{^(?:Mojo/Promise|Future)\.pm\z} } keys %INC;
    my $client = async();
    is($client->request_p('x'), undef, 'without Mojo::Promise');
    is($@, 'Mojo::Promise is not installed', 'says so');
    is($client->request_f('x'), undef, 'without Future');
    is($@, 'Future is not installed', 'says so');
}

done_testing();
