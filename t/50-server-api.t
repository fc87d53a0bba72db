# Every method on a server object and on a server's client: arguments, contexts, results, texts.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

sub fails {
    my ($object, $text, $method, @args) = @_;
    $@ = 'stale';
    my @list = $object->$method(@args);
    my $error = $@;
    is(scalar @list, 1, "$method(): one element in list context");
    ok(!defined $list[0], "$method(): undef");
    is($error, $text, "$method(): text");
    my $scalar = $object->$method(@args);
    ok(!defined $scalar, "$method(): undef in scalar context");
    return;
}

sub refused {
    my ($name, $text, @args) = @_;
    $@ = 'stale';
    my @result = Net::EasyTCP->new(mode => 'server', @args);
    my $error = $@;
    is(scalar @result, 1, "$name: one element in list context");
    ok(!defined $result[0], "$name: undef");
    ref $text ? like($error, $text, "$name: text") : is($error, $text, "$name: text");
    return;
}

# ---- the constructor ---------------------------------------------------------------------------

refused('no port', 'Invalid port');
refused('port undef', 'Invalid port', port => undef);
refused('port 0', 'Invalid port', port => 0);
refused('empty port', 'Invalid port', port => '');
refused('unknown service', qr/^Could not create listening socket on port nosuchservice: /,
    port => 'nosuchservice');
{
    my $taken = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 0, Listen => 1, Proto => 'tcp');
    my $port = $taken->sockport;
    my $reason = do { local $! = POSIX::EADDRINUSE(); "$!" };
    refused('a port in use', "Could not create listening socket on port $port: $reason", port => $port);
}

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
isa_ok($server, 'Net::EasyTCP');
is($server->mode, 'server', 'mode()');
{
    my $second = Net::EasyTCP->new(mode => 'server', port => $port);
    ok(!$second, 'two live servers never share a port');
    like($@, qr/^Could not create listening socket on port $port: /, 'the second one says so');
}
foreach my $mode (qw(s S server Server SUPER)) {
    my ($other) = new_server(mode => $mode);
    is($other && $other->mode, 'server', "mode => '$mode'");
}
{
    my $free = free_port();
    my $other = Net::EasyTCP->new(MODE => 'server', Port => $free)
        || Net::EasyTCP->new(MODE => 'server', Port => free_port());
    ok($other, 'keys in any letter case') or diag $@;
    my $ephemeral = Net::EasyTCP->new(mode => 'server', port => '00');
    ok($ephemeral, 'port "00": the system chooses') or diag $@;
    my ($with_host) = new_server(host => '192.0.2.1', timeout => 3, whatever => 1);
    ok($with_host, 'host is ignored on a server');
    ok(!eval { $server->new(mode => 'server', port => free_port()); 1 }, 'new() of a server object dies');
    like($@, qr/^Attempt to bless into a reference/, 'as it always did');
    my $number = free_port();
    my $named  = Net::EasyTCP->new(mode => 'server', port => "nosuchservice($number)\n");
    is($named && $named->{_sock}->sockport, $number, 'a service with its number and a line feed');
}

# ---- methods that a server has not --------------------------------------------------------------

foreach my $method (qw(send receive data close socket remoteip remoteport)) {
    fails($server, "server cannot use method $method()", $method);
}
fails($server, 'server cannot use method send()', 'send', 'text');

is($server->compression, undef, 'compression() of a server');
is($server->encryption, undef, 'encryption() of a server');
like($server->serial, qr/^[1-9]\d*$/, 'serial() of a server');

# ---- methods that it has ------------------------------------------------------------------------

foreach my $method (qw(setcallback callback)) {
    is($server->$method(), 1, "$method() without arguments");
    is($server->$method(data => sub { }), 1, "$method()");
    is($server->$method(data => sub { }, connect => sub { }, disconnect => sub { }), 1, "$method() of three");
    is($server->$method(anything => sub { }), 1, "$method() of another name");
    $@ = 'stale';
    my @result = $server->$method(data => 'gotdata');
    is_deeply(\@result, [0], "$method() of a name returns 0");
    is($@, 'Callback data gotdata does not exist', "$method() of a name: text");
    my $array = [];
    is($server->$method(connect => $array), 0, "$method() of an array");
    is($@, "Callback connect $array does not exist", "$method() of an array: text");
    {
        no warnings;
        is($server->$method(data => undef), 0, "$method() of undef");
        is($@, 'Callback data  does not exist', "$method() of undef: text");
    }
}

is($server->running, undef, 'running() before start()');
is($server->stop, 1, 'stop() before start()');
is($server->running, undef, 'running() after stop() alone');
is($server->addclientip('127.0.0.1', '127.0.0.2'), 1, 'addclientip()');
is($server->addclientip, 1, 'addclientip() of nothing');
is($server->deleteclientip('127.0.0.1', '127.0.0.2', '10.0.0.1'), 1, 'deleteclientip()');
is($server->deleteclientip, 1, 'deleteclientip() of nothing');
is($server->do_one_loop, 1, 'do_one_loop()');
is_deeply([ $server->do_one_loop ], [1], 'do_one_loop() in list context');

foreach my $method (qw(do_one_loop stop running clients mode serial pending)) {
    my @with = $server->$method(0.5, 'more');
    is_deeply(\@with, [ $server->$method ], "$method() ignores arguments");
}
is($server->start(sub { $_[0]->stop }, 'more'), 1, 'start() ignores what follows the code');

my @nobody = $server->clients;
is_deeply(\@nobody, [undef], 'clients() of none: undef, also in list context');
is(scalar $server->clients, undef, 'clients() of none: undef in scalar context');

# ---- a server's client --------------------------------------------------------------------------

my %seen;
my $peer_options = sub { (version => '0.19', port => $port, idle => loop_of($server)) };
$server->setcallback(
    connect    => sub { push @{ $seen{connect} }, $_[0] },
    data       => sub { push @{ $seen{data} }, [ scalar @_, $_[0], scalar $_[0]->data ] },
    disconnect => sub { push @{ $seen{disconnect} }, $_[0] },
);
my $peer = OldPeer->client($peer_options->()) or BAIL_OUT(OldPeer->error);
run_until($server, sub { $seen{connect} });
my $client = $seen{connect}[0];
isa_ok($client, 'Net::EasyTCP', 'the argument of connect');
my @list = $server->clients;
is(scalar @list, 1, 'clients() in list context');
is($list[0], $client, 'is the same object');
is(scalar $server->clients, 1, 'clients() in scalar context: the count');

foreach my $method (qw(addclientip deleteclientip setcallback start do_one_loop running clients)) {
    fails($client, "serverclient cannot use method $method()", $method);
}
fails($client, 'serverclient cannot use method setcallback()', 'callback');
fails($client, 'serverclient cannot call method stop()', 'stop');

is($client->mode, 'client', 'mode() of a server\'s client');
is($client->remoteip, '127.0.0.1', 'remoteip()');
is($client->remoteport, $peer->socket->sockport, 'remoteport()');
is($client->compression, undef, 'compression()');
is($client->encryption, undef, 'encryption()');
isa_ok($client->socket, 'IO::Socket::INET', 'socket()');
is($client->socket->peerport, $peer->socket->sockport, 'socket() is this connection');
is($client->socket, $client->socket, 'socket() is the same handle again');
my $serial = $client->serial;
like($serial, qr/^[1-9]\d*$/, 'serial()');
is($client->serial, $serial, 'serial() stays');

$peer->send('one');
run_until($server, sub { $seen{data} && @{ $seen{data} } >= 1 });
is_deeply([ @{ $seen{data}[0] }[ 0, 2 ] ], [ 1, 'one' ], 'data callback: one argument, one message');
is($seen{data}[0][1], $client, 'the same object');
is($client->data, undef, 'data() without any: undef');
is_deeply([ $client->data ], [ undef, undef ], 'data() without any, in list context');
$server->setcallback(data => sub { push @{ $seen{data} }, [ $_[0]->data ] });
$peer->send('two');
run_until($server, sub { @{ $seen{data} } >= 2 });
is_deeply($seen{data}[1], [ 'two', 1 ], 'data() in list context: the message and its flag');

is($client->send('answer'), 1, 'send()');
is($peer->receive, 'answer', 'arrives');
is($client->send({ list => [ 1, undef ] }), 1, 'send() of a structure');
is_deeply($peer->receive, { list => [ 1, undef ] }, 'arrives');
fails($client, 'Error sending data: Data not supplied', 'send');
fails($client, 'Error sending data: Data not supplied', 'send', undef);

# A second one: another number, the same table.
my $other_peer = OldPeer->client($peer_options->()) or BAIL_OUT(OldPeer->error);
run_until($server, sub { @{ $seen{connect} } == 2 });
my $other = $seen{connect}[1];
is($other->serial, $serial + 1, 'serial() of the next connection');
is(scalar $server->clients, 2, 'clients() of two');
is_deeply([ sort map { $_->serial } $server->clients ], [ sort $serial, $serial + 1 ], 'both objects');

# The peer leaves.
my $handle = $other->socket;
$other_peer->close;
run_until($server, sub { $seen{disconnect} });
is($seen{disconnect}[0], $other, 'disconnect: the same object');
$server->do_one_loop;
is(scalar $server->clients, 1, 'clients() without the one that left');
is($other->socket, undef, 'socket() of one that left');
is($other->{_sock}, undef, 'slot _sock of one that left');
ok(!$handle->opened, 'its handle is closed');
is($other->compression, undef, 'compression() of one that left');
is($other->encryption, undef, 'encryption() of one that left');
fails($other, 'Error sending data: Socket handle not supplied', 'send', 'x');
is($other->close, 1, 'close() of one that left');

# close() by the server
is($client->close, 1, 'close()');
is($client->close, 1, 'close() again');
is($client->disconnect, 1, 'disconnect()');
is($client->socket, undef, 'socket() after close()');
is($client->remoteip, '127.0.0.1', 'remoteip() after close()');
is($client->remoteport, $peer->socket->sockport, 'remoteport() after close()');
is($client->serial, $serial, 'serial() after close()');
fails($client, 'Error sending data: Socket handle not supplied', 'send', 'x');
fails($client, 'Timed out waiting to receive data', 'receive');
ok(has_closed($peer->socket, loop_of($server)), 'the peer sees the end');
$server->do_one_loop foreach 1 .. 3;
is(scalar @{ $seen{disconnect} }, 1, 'no disconnect callback for a close of its own');
is(scalar $server->clients, undef, 'a closed client leaves clients()');

# An exact slot or two that scripts look at.
is($server->{_mode}, 'server', 'slot _mode of a server');
is($client->{_mode}, 'serverclient', 'slot _mode of a server\'s client');
is($client->{_serial}, $serial, 'slot _serial');
is($client->{_remoteip}, '127.0.0.1', 'slot _remoteip');
is($client->{_remoteport}, $peer->socket->sockport, 'slot _remoteport');

# A dropped server frees its port at once.
undef $server;
%seen = ();
undef $_ foreach $client, $other, $peer, $other_peer;
@list = ();
my $again = Net::EasyTCP->new(mode => 'server', port => $port);
ok($again, 'a dropped server frees its port at once') or diag $@;

done_testing();
