# Rooms: names for sets of clients, and broadcast to them.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;
use Scalar::Util ();

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
my $loop = loop_of($server);
my (@clients, @left);
$server->setcallback(
    connect    => sub { push @clients, $_[0] },
    disconnect => sub { push @left, [ $_[0]->rooms ]; $server->broadcast('somebody left', room => 'a') },
);
my @socks = map {
    my $sock = raw_negotiate(raw_connect($port), $loop);
    run_until($server, sub { @clients == $_ });
    $sock;
} 1 .. 3;

sub serials { return join ' ', sort map { $_->serial } @_ }

is($server->broadcast('nobody', room => 'a'), '0E0', 'nobody is in a room that is not there');
is(scalar($server->room('a')), 0, 'it has no clients');
ok($clients[0]->joinroom('a', 'b'), 'joinroom');
ok($clients[1]->joinroom('b'), 'another one');
is_deeply([ $clients[0]->rooms ], [ 'a', 'b' ], 'rooms');
is(serials($server->room('b')), serials(@clients[ 0, 1 ]), 'room');
is(scalar($server->room('b')), 2, 'the number of them');
is($server->broadcast('to b', room => 'b'), 2, 'broadcast to a room');
is((read_packet($socks[$_], $loop))[1], 'to b', 'which arrives') foreach 0, 1;
is($server->broadcast('others', room => 'b', except => $clients[0]), 1, 'except one');
is((read_packet($socks[1], $loop))[1], 'others', 'which does not get it');
is($server->broadcast('to a', room => 'a'), 1, 'the next');
is((read_packet($socks[0], $loop))[1], 'to a', 'is what it gets');
ok(!defined $server->broadcast('x', room => 'a', to => $clients[0]), 'room and to');
like($@, qr/room and to contradict each other/, 'contradict each other');

ok($clients[0]->leaveroom('b', 'never joined'), 'leaveroom');
is_deeply([ $clients[0]->rooms ], ['a'], 'one is left');
is(serials($server->room('b')), $clients[1]->serial, 'the other stays');

# Who goes leaves, by itself or not.
$clients[2]->joinroom('a', 'c');
close $socks[2];
run_until($server, sub { @left });
is_deeply($left[0], [ 'a', 'c' ], 'in its disconnect callback it is still there');
is((read_packet($socks[0], $loop))[1], 'somebody left', 'what is sent then goes to the others');
is(scalar($server->room('c')), 0, 'then it has left');
$clients[1]->close;
is(scalar($server->room('b')), 0, 'who was closed is in no room');
ok(!defined $clients[1]->joinroom('b'), 'and joins none');
is($@, 'Client not connected', 'as it is told');
run_until($server, sub { !$clients[1]->rooms });
is_deeply([ $clients[1]->rooms ], [], 'when it is forgotten, its rooms are, too');
Scalar::Util::weaken($clients[1]);
run_until($server, sub { !$clients[1] });
ok(!$clients[1], 'a room keeps nobody');

ok(!defined $server->joinroom('a'), 'servers join nothing');
is($@, 'server cannot use method joinroom()', 'as they say');
my @none = $clients[0]->room('a');
is_deeply(\@none, [], 'hybrids have no room to show');
is($@, 'serverclient cannot use method room()', 'as hybrids say');
ok($clients[0]->joinroom("\x{263a}", ''), 'any name');
is($server->broadcast('smile', room => "\x{263a}"), 1, 'of any characters');

# A server that goes takes its rooms along.
my $kept = $clients[0];
undef $server;
undef $loop;
ok(!$kept->joinroom('a'), 'a client without its server joins nothing');
done_testing();
