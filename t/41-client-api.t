# Every method on a client object: arguments, contexts, results, texts.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my $echo = spawn_server(donotencrypt => 1, donotcompress => 1);

sub connected {
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}, @_);
    BAIL_OUT("cannot connect: $@") unless $client;
    return $client;
}

# A call that must fail softly: undef, once, with this text.
sub fails {
    my ($client, $text, $method, @args) = @_;
    $@ = 'stale';
    my @list = $client->$method(@args);
    is(scalar @list, 1, "$method(): one element in list context");
    ok(!defined $list[0], "$method(): undef");
    is($@, $text, "$method(): text");
    my $scalar = $client->$method(@args);
    ok(!defined $scalar, "$method(): undef in scalar context");
    return;
}

my $client = connected();
isa_ok($client, 'Net::EasyTCP');
is(Scalar::Util::reftype($client), 'HASH', 'a blessed hash') if eval { require Scalar::Util };

foreach my $method (qw(addclientip deleteclientip setcallback start do_one_loop running clients)) {
    fails($client, "client cannot use method $method()", $method);
}
fails($client, 'client cannot use method setcallback()', 'callback');
fails($client, 'client cannot call method stop()', 'stop');
fails($client, 'client cannot use method setcallback()', 'setcallback', data => sub { });

is($client->mode, 'client', 'mode()');
is($client->remoteip, '127.0.0.1', 'remoteip()');
is($client->remoteport, $echo->{port}, 'remoteport()');
is($client->compression, undef, 'compression(): none');
is($client->encryption, undef, 'encryption(): none');
my @none = $client->compression;
is(scalar @none, 1, 'compression(): undef in list context');

my $socket = $client->socket;
isa_ok($socket, 'IO::Socket::INET', 'socket()');
ok(defined fileno $socket, 'socket() is open');
is($socket->peerport, $echo->{port}, 'socket() is connected to the server');
is($client->socket, $socket, 'socket() gives the same handle again');
is($client->{_sock}, $socket, 'slot _sock');
{
    # The slot makes the handle itself, and lets go of an object that is gone.
    my $early = connected();
    my $slot  = \$early->{_sock};
    is($early->{_sock}->peerport, $echo->{port}, 'slot _sock before socket() was called');
    is($early->socket, $early->{_sock}, 'socket() gives the same handle');
    my %copy = %$early;
    is($copy{_sock}, $early->socket, 'a copy of the hash has it');
    $early->close;
    ok(!defined $early->{_sock}, 'slot _sock after close()');
    $early = connected();
    $slot  = \$early->{_sock};
    ok(defined $$slot, 'a reference to the slot');
    undef $early;
    ok(!defined $$slot, 'outlives the object');
}
is($client->$_('more', 'than it uses'), $client->$_, "$_() ignores arguments")
    foreach qw(mode remoteip remoteport serial socket compression encryption pending);

# Numbers come from one counter, at the first call.
my $serial = $client->serial;
like($serial, qr/^[1-9]\d*$/, 'serial() is a number');
is($client->serial, $serial, 'serial() stays');
my $second = connected();
is($second->serial, $serial + 1, 'serial() of another object: the next number');
$second->close;
is($Net::EasyTCP::_SERIAL, $serial + 1, '$_SERIAL counts');

# send and receive
foreach my $text ('HELLO THERE', '0', '', "\0", ' ', "a\nb\r\n", '0.0', "\xff\xfe") {
    (my $shown = $text) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    is($client->send($text), 1, "send('$shown')");
    my @back = $client->receive;
    is(scalar @back, 1, "receive() of '$shown': one element");
    is($back[0], $text, "receive() of '$shown'");
}
is(join('|', $client->send('list context')), '1', 'send() in list context');
is($client->receive(5), 'list context', 'receive(5)');
$client->send(42);
is($client->receive, '42', 'a number');
$client->send(1.5);
is($client->receive, '1.5', 'a fraction');

my $structure = {
    a => 1, b => [ 2, 3, undef, [] ], c => { d => \'scalar', e => undef }, f => '0', g => '',
};
is($client->send($structure), 1, 'send() of a structure');
is_deeply($client->receive, $structure, 'receive() of a structure');
$client->send([]);
is_deeply($client->receive, [], 'an empty list');
$client->send({});
is_deeply($client->receive, {}, 'an empty hash');
$client->send(\'text');
is_deeply($client->receive, \'text', 'a scalar reference');
$client->send(\undef);
is_deeply($client->receive, \undef, 'a reference to undef');
{
    my $loop = [1];
    push @$loop, $loop;
    $client->send($loop);
    my $back = $client->receive;
    ok(ref $back eq 'ARRAY' && $back->[1] == $back, 'a cycle');
    pop @$back;
    pop @$loop;
    my $object = bless { x => 1 }, 'Some::Class';
    $client->send($object);
    $back = $client->receive;
    is(ref $back, 'Some::Class', 'a blessed object keeps its class');
    is($back->{x}, 1, 'and its content');
}

fails($client, 'Error sending data: Data not supplied', 'send', undef);
fails($client, 'Error sending data: Data not supplied', 'send');
ok(!eval { $client->send(sub { 1 }); 1 }, 'send() of code dies');
like($@, qr/Can't store CODE items/, 'with the text of Storable');
$client->send('still here');
is($client->receive, 'still here', 'the connection outlives that');

is($client->data, undef, 'data(): nothing queued');

# $@ is not touched by success.
$@ = 'mine';
$client->mode; $client->remoteip; $client->serial;
is($@, 'mine', '$@ stays when methods succeed');

# waiting that ends
$@ = '';
my @late = $client->receive(1);
is(scalar @late, 1, 'receive(1) without data: one element');
ok(!defined $late[0], 'receive(1) without data: undef');
is($@, 'Timed out waiting to receive data', 'receive(1) without data: text');

# the user's own keys
$client->{my_state} = 'kept';
$client->send('x');
$client->receive;
is($client->{my_state}, 'kept', 'keys of the user stay in the object');
my %by_name = ($client => 'found');
is($by_name{$client}, 'found', 'an object is a hash key');
like("$client", qr/^Net::EasyTCP=HASH\(0x[0-9a-f]+\)$/, 'an object prints as always');

# after close
is($client->close, 1, 'close()');
is($client->close, 1, 'close() again');
is($client->disconnect, 1, 'disconnect() after close()');
is($client->socket, undef, 'socket() after close(): undef');
is($client->remoteip, '127.0.0.1', 'remoteip() after close()');
is($client->remoteport, $echo->{port}, 'remoteport() after close()');
is($client->serial, $serial, 'serial() after close()');
is($client->mode, 'client', 'mode() after close()');
is($client->data, undef, 'data() after close()');
fails($client, 'Error sending data: Socket handle not supplied', 'send', 'x');
fails($client, 'Timed out waiting to receive data', 'receive');
fails($client, 'Timed out waiting to receive data', 'receive', 1);
fails($client, 'Timed out waiting to receive data', 'receive', 300);
is($client->{my_state}, 'kept', 'keys of the user survive close()');

# disconnect() closes as the manual says
$client = connected();
is($client->disconnect, 1, 'disconnect()');
is($client->socket, undef, 'disconnect() closed');
ok(!defined $client->send('x'), 'nothing can be sent after disconnect()');

# options shown by the accessors
my $modern = spawn_server();
$client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $modern->{port},
    donotencrypt => 1);
is($client->encryption, undef, 'encryption() with donotencrypt');
ok($client->compression, 'compression() names a module');
$client->close;
$client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $modern->{port},
    donotcompress => 1);
is($client->compression, undef, 'compression() with donotcompress');
ok($client->encryption, 'encryption() names a module');
$client->send('x');
is($client->receive, 'x', 'and works');
$client->close;
$modern->kill('TERM');

is(Net::EasyTCP->can('nosuchmethod'), undef, 'no unknown methods');
ok(!eval { $client->nosuchmethod; 1 }, 'an unknown method dies');
like($@, qr/Can't locate/, 'as unknown methods do');

$echo->kill('TERM');
# A peer that has closed: the reason of the system, whatever was noticed before.
{
    my $echo = spawn_server(donotencrypt => 1);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or die $@;
    $client->send('QUIT');
    $client->receive;
    is($client->receive(30), undef, 'the server has closed');
    my $sent = 1;
    for (1 .. 1000) { $sent = $client->send('x') or last; select undef, undef, undef, 0.01 }
    my ($text, $errno) = ($@, $!);
    ok(!$sent, 'send() fails then');
    is($text, "Error writing to socket while sending data: $errno", 'with the reason');
    isnt($errno + 0, 0, 'which $! has too');
    is($client->send('x'), undef, 'send() fails again');
    is($@, $text, 'with the same reason');
    $echo->kill('TERM');
}
done_testing();
