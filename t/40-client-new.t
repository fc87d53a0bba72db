# The constructor in client mode: what it accepts, what it returns, what it says when it fails.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP 0.26;

my $echo = spawn_server(donotencrypt => 1);
my $port = $echo->{port};

sub refused {
    my ($name, $text, @args) = @_;
    $@ = 'stale';
    my @result = Net::EasyTCP->new(@args);
    my $error = $@;
    is(scalar @result, 1, "$name: one element in list context");
    ok(!defined $result[0], "$name: undef");
    ref $text ? like($error, $text, "$name: text") : is($error, $text, "$name: text");
    return;
}

sub works {
    my ($name, $client) = @_;
    my $error = $@;
    ok($client, "$name: connects") or do { diag $error; return };
    ok($client->send("$name?"), "$name: sends");
    is($client->receive, "$name?", "$name: receives");
    is($client->close, 1, "$name: closes");
    return;
}

# Mode is told by its first letter alone.
my $MODE = q{unacceptable. Must be either 'client' or 'server'};
{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    refused('no arguments',  "Supplied mode '' $MODE");
    refused('no mode',       "Supplied mode '' $MODE", host => '127.0.0.1', port => $port);
    refused('mode undef',    "Supplied mode '' $MODE", mode => undef);
}
refused('odd mode',      "Supplied mode 'peer' $MODE", mode => 'peer', port => $port);
refused('mode x client', "Supplied mode 'xclient' $MODE", mode => 'xclient');
refused('no host',       'Invalid host', mode => 'client', port => $port);
refused('empty host',    'Invalid host', mode => 'client', host => '', port => $port);
refused('host 0',        'Invalid host', mode => 'client', host => '0', port => $port);
refused('no port',       'Invalid port', mode => 'client', host => '127.0.0.1');
refused('port 0',        'Invalid port', mode => 'client', host => '127.0.0.1', port => 0);
refused('empty port',    'Invalid port', mode => 'client', host => '127.0.0.1', port => '');
refused('neither',       'Invalid host', mode => 'client');

{
    my $closed = free_port();
    refused('nobody listens', qr/^Could not connect to 127\.0\.0\.1:$closed: \S/,
        mode => 'client', host => '127.0.0.1', port => $closed);
    my $refused = do { local $! = POSIX::ECONNREFUSED(); "$!" };
    like($@, qr/\Q$refused\E$/, 'nobody listens: the reason of the system');
}
refused('unresolvable host', qr/^Could not connect to no\.such\.host\.invalid:$port: (?!Invalid argument)\S/,
    mode => 'client', host => 'no.such.host.invalid', port => $port);
refused('unknown service', qr/^Could not connect to 127\.0\.0\.1:nosuchservice: /,
    mode => 'client', host => '127.0.0.1', port => 'nosuchservice');

my @to = (host => '127.0.0.1', port => $port);
works('plain call',      Net::EasyTCP->new(mode => 'client', @to));
works('host name',       Net::EasyTCP->new(mode => 'client', host => 'localhost', port => $port));
works('mode C',          Net::EasyTCP->new(mode => 'C', @to));
works('mode Cheese',     Net::EasyTCP->new(mode => 'Cheese', @to));
works('upper case keys', Net::EasyTCP->new(MODE => 'client', HOST => '127.0.0.1', PORT => $port));
works('mixed case keys', Net::EasyTCP->new(Mode => 'client', Host => '127.0.0.1', pORT => $port));
works('unknown keys',    Net::EasyTCP->new(mode => 'client', @to, colour => 'red', _x => 1));
works('timeout',         Net::EasyTCP->new(mode => 'client', @to, timeout => 10));
works('timeout 0',       Net::EasyTCP->new(mode => 'client', @to, timeout => 0));
works('a port with its line feed', Net::EasyTCP->new(mode => 'client', host => '127.0.0.1',
    port => "$port\n"));
works('a service with its number', Net::EasyTCP->new(mode => 'client', host => '127.0.0.1',
    port => "nosuchservice($port)"));
works('a host with its port', Net::EasyTCP->new(mode => 'client', host => "127.0.0.1:$port", port => 1));
refused('a port above 65535', qr/^Could not connect to 127\.0\.0\.1:70000: \S/,
    mode => 'client', host => '127.0.0.1', port => 70000);
works('module lists',    Net::EasyTCP->new(mode => 'client', @to,
    donotencryptwith => 'Crypt::RSA', donotcompresswith => [ 'Compress::LZF' ]));
works('undef options',   Net::EasyTCP->new(mode => 'client', @to, password => undef,
    donotencryptwith => undef, donotcompress => undef, timeout => undef));
works('object syntax', do { no strict; new Net::EasyTCP(mode => 'client', @to) });

{
    my $client = Net::EasyTCP->new(mode => 'client', @to);
    works('method of a client', $client->new(mode => 'client', @to));
    isa_ok($client->new(mode => 'client', @to), 'Net::EasyTCP', 'new() on an object');
    $client->close;
}

{
    @My::Client::ISA = ('Net::EasyTCP');
    my $client = My::Client->new(mode => 'client', @to);
    is(ref $client, 'My::Client', 'a subclass makes objects of its own');
    is(ref $client->new(mode => 'client', @to), 'My::Client', 'also from an object');
    $client->close;
}

# An undocumented argument of old releases: a connected socket, which both ends wrap without a negotiation.
{
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1, Proto => 'tcp');
    my $near = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listener->sockport);
    my ($here, $there) = map { Net::EasyTCP->new(mode => 'client', _sock => $_) } $near, $listener->accept;
    is($here->socket, $near, '_sock: the handle');
    is($here->{_mode}, 'serverclient', '_sock: the kind of object');
    is($here->remoteport, $listener->sockport, '_sock: the peer');
    is($here->send([ 'a', 1 ]), 1, '_sock: send()');
    is_deeply($there->receive(60), [ 'a', 1 ], '_sock: receive()');
    is($here->close, 1, '_sock: close()');
    is($there->receive(60), undef, '_sock: the end');
    foreach my $no (\*STDERR, 'no handle', IO::Socket::INET->new(Proto => 'tcp')) {
        $@ = 'stale';
        is(Net::EasyTCP->new(mode => 'client', _sock => $no), undef, '_sock: not connected');
        is($@, 'Error getting peername', '_sock: text');
    }
}

# The text survives up to a bare "or die".
ok(!eval { Net::EasyTCP->new(mode => 'client', port => 1) || die; 1 }, 'new() || die dies');
like($@, qr/^Invalid host\t\.\.\.propagated/, 'with the text of $@');

ok(Net::EasyTCP->can('new'), 'can("new")');
cmp_ok($Net::EasyTCP::VERSION, '>=', 0.26, '$VERSION');
cmp_ok($Net::EasyTCP::PACKETSIZE, '>', 0, '$PACKETSIZE is there');
ok(eval { Net::EasyTCP->VERSION(0.26); 1 }, 'use Net::EasyTCP 0.26 passes');

$echo->kill('TERM');
done_testing();
