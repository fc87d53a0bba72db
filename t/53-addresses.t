# addclientip, deleteclientip; host is no bind address, localaddr is; limits on clients.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use IO::Socket::INET;
use Net::EasyTCP;

my $connected = 0;
my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
$server->setcallback(connect => sub { $connected++ }, data => sub { $_[0]->send($_[0]->data) },
    disconnect => sub { $connected-- });
my $idle = loop_of($server);

sub peer { return OldPeer->client(version => '0.19', port => $port, idle => $idle) }

sub is_refused {
    my $name = shift;
    my $sock = raw_connect($port);
    ok(has_closed($sock, $idle), "$name: closed at once, without a byte");
    return;
}

ok(my $first = peer(), 'anybody may connect at first');
run_until($server, sub { $connected == 1 });

$server->addclientip('10.1.2.3');
is_refused('another address is on the list');
$first->send('still here');
is($first->receive, 'still here', 'existing connections are not concerned');

$server->addclientip('127.0.0.1');
ok(my $second = peer(), 'an address on the list');
run_until($server, sub { $connected == 2 });

$server->deleteclientip('127.0.0.1');
is_refused('an address taken off the list');
$second->send('still here');
is($second->receive, 'still here', 'its old connection stays');

$server->addclientip('127.0.0.01', '127.0.0', 'localhost');
is_refused('addresses are compared as they are written');
$server->deleteclientip('127.0.0.01', '127.0.0', 'localhost', '10.1.2.3', 'never added');
ok(my $third = peer(), 'an empty list lets everybody in again');
run_until($server, sub { $connected == 3 });
is($connected, 3, 'refused connections called no callback');
is(scalar $server->clients, 3, 'and are not among the clients');
$_->close foreach $first, $second, $third;
run_until($server, sub { $connected == 0 });

SKIP: {
    my $own = eval {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', LocalAddr => '127.0.0.2', PeerPort => $port)
    } or skip 'no second loopback address', 2;
    $server->do_one_loop;
    close $own;
    $server->addclientip('127.0.0.2');
    is_refused('127.0.0.1 while 127.0.0.2 is listed');
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', LocalAddr => '127.0.0.2', PeerPort => $port);
    raw_negotiate($sock, $idle);
    run_until($server, sub { $connected == 1 });
    is(($server->clients)[0]->remoteip, '127.0.0.2', '127.0.0.2 is let in');
    $server->deleteclientip('127.0.0.2');
}

# localaddr binds, host does not.
{
    my ($bound, $bound_port) = new_server(localaddr => '127.0.0.1', host => '192.0.2.7');
    ok($bound, 'localaddr with a host that is ignored');
    ok(OldPeer->client(version => '0.19', port => $bound_port, idle => loop_of($bound)),
        'is reachable there');
    $@ = '';
    my $nowhere = Net::EasyTCP->new(mode => 'server', port => free_port(), localaddr => '192.0.2.7');
    ok(!$nowhere, 'an address of another machine');
    like($@, qr/^Could not create listening socket on port \d+: \S/, 'is refused with the usual text');
}

# maxclients: who comes when it is full is closed; who leaves makes room.
{
    my ($up, $down) = (0, 0);
    my ($small, $small_port) = new_server(donotencrypt => 1, donotcompress => 1, maxclients => 2);
    $small->setcallback(connect => sub { $up++ }, disconnect => sub { $down++ });
    my $loop = loop_of($small);
    my @peers = map { OldPeer->client(version => '0.19', port => $small_port, idle => $loop) } 1, 2;
    is(scalar(grep { $_ } @peers), 2, 'maxclients 2: two clients');
    run_until($small, sub { $up == 2 });
    ok(has_closed(raw_connect($small_port), $loop), 'the third is closed');
    $peers[0]->close;
    run_until($small, sub { $down == 1 });
    ok(OldPeer->client(version => '0.19', port => $small_port, idle => $loop), 'room again');
}

# maxhalfopen: the same for those that do not finish negotiating, and negotiationtimeout ends them.
{
    my ($small, $small_port) = new_server(donotencrypt => 1, donotcompress => 1, maxhalfopen => 2,
        negotiationtimeout => 1);
    my $loop = loop_of($small);
    my @silent = map { raw_connect($small_port) } 1, 2;
    read_packet($_, $loop) foreach @silent;
    my $third = raw_connect($small_port);
    my $closed = 0;
    run_until($small, sub {
        foreach my $sock ($third, @silent) {
            $closed = 1 if IO::Select->new($sock)->can_read(0) && !sysread $sock, my $bytes, 4096;
        }
        $closed;
    });
    ok($closed, 'maxhalfopen 2: a third that says nothing makes one of them go');
    close $third;
    ok(has_closed($_, $loop), 'negotiationtimeout ends a silent one')
        foreach grep { defined fileno $_ } @silent;
    ok(OldPeer->client(version => '0.19', port => $small_port, idle => $loop), 'and there is room again');
}

# idletimeout: silence after the negotiation, ended with a disconnect callback.
{
    my $gone = 0;
    my ($short, $short_port) = new_server(donotencrypt => 1, donotcompress => 1, idletimeout => 1);
    $short->setcallback(disconnect => sub { $gone++ });
    my $peer = OldPeer->client(version => '0.19', port => $short_port, idle => loop_of($short));
    run_until($short, sub { $gone });
    ok(has_closed($peer->socket, loop_of($short)), 'idletimeout closes a silent client');
    is($gone, 1, 'with one disconnect callback');
}

done_testing();
