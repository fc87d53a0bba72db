# stats: what was counted. The names are part of the interface.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my @traffic = qw(bytes_in bytes_out messages_in messages_out payload_in payload_out);
my @kinds   = map { "failed_$_" } qw(decode negotiation password proxy timeout toobig);
my @refused = map { "refused_$_" } qw(address full perip);

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1, maxclients => 2);
my $loop = loop_of($server);
my $connected = 0;
$server->setcallback(connect => sub { $connected++ }, data => sub { $_[0]->send($_[0]->data) });

is_deeply([ sort keys %{ $server->stats } ],
    [ sort @traffic, @kinds, @refused, qw(accepted clients negotiating closing queued queued_most) ],
    "a server's names");
is((grep { $_ } values %{ $server->stats }), 0, 'nothing so far');

my @socks = map { raw_negotiate(raw_connect($port), $loop) } 1, 2;
run_until($server, sub { $connected == 2 });
my $before = $server->stats;
is($before->{clients}, 2, 'clients');
is($before->{accepted}, 2, 'accepted');
cmp_ok($before->{bytes_out}, '>', 100, 'the negotiation is counted in bytes');
is($before->{messages_in}, 0, 'and not in messages');

write_to($socks[0], packet(5, 'x' x 1000) . packet(5, 'y'));
read_packet($socks[0], $loop) for 1, 2;
my $after = $server->stats;
my %more  = map { $_ => $after->{$_} - $before->{$_} } @traffic;
my $bytes = length packet(5, 'x' x 1000) . packet(5, 'y');
is_deeply(\%more, { messages_in => 2, messages_out => 2, payload_in => 1001, payload_out => 1001,
    bytes_in => $bytes, bytes_out => $bytes },
    'two messages there and back');

ok(has_closed(raw_connect($port), $loop), 'one too many');
is($server->stats->{refused_full}, 1, 'refused_full');
close $socks[1];
run_until($server, sub { $server->stats->{clients} == 1 });
$server->addclientip('192.0.2.1');
ok(has_closed(raw_connect($port), $loop), 'one that may not come');
is($server->stats->{refused_address}, 1, 'refused_address');
$server->deleteclientip('192.0.2.1');
my $silent = raw_connect($port);
run_until($server, sub { $server->stats->{negotiating} == 1 });
is($server->stats->{accepted}, 5, 'negotiating');
write_to($silent, "\xff" x 100);
ok((grep { $_ } has_closed($silent, $loop), 1), 'one that talks nonsense');
run_until($server, sub { $server->stats->{failed_negotiation} });
is($server->stats->{failed_negotiation}, 1, 'failed_negotiation, without a callback for it');

# A client's, with compression: what goes over the wire is less than what was said.
{
    my $child  = spawn_server(donotencrypt => 1);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port},
        donotencrypt => 1);
    is_deeply([ sort keys %{ $client->stats } ], [ sort @traffic, 'queued' ], "a client's names");
    my $said = 'all work and no play ' x 1000;
    $client->send($said) for 1 .. 3;
    $client->receive(60) for 1 .. 3;
    my $stats = $client->stats;
    is($stats->{messages_out}, 3, 'messages_out');
    is($stats->{messages_in},  3, 'messages_in');
    is($stats->{payload_out}, 3 * length $said, 'payload_out');
    is($stats->{payload_in},  3 * length $said, 'payload_in');
    cmp_ok($stats->{bytes_in}, '>', 0, 'bytes_in');
    is($stats->{queued}, 0, 'queued');
    $client->close;
    is($client->stats->{messages_out}, 3, 'also after close');
    $child->kill('TERM');
}

# The example serves them over HTTP, by one loop.
SKIP: {
    skip 'the examples are not here', 4 if !-e 'examples/metrics.pl';
    my $child = spawn(sub {
        my $me = shift;
        open STDOUT, '>&', $me->{out} or die "STDOUT: $!";
        exec $^X, '-Mblib', 'examples/metrics.pl', '00', 0 or die "exec: $!";
    });
    my ($to, $http) = $child->line =~ /^Listening on port (\d+), metrics on port (\d+)/;
    ok($http, 'the example listens');
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $to);
    $client->send('counted');
    is($client->receive(60), 'counted', 'and serves its clients');
    my $sock = raw_connect($http);
    write_to($sock, "GET /metrics HTTP/1.0\r\n\r\n");
    my $text = join '', <$sock>;
    like($text, qr/^easytcp_messages_in_total 1$/m, 'it tells what was counted');
    like($text, qr/^# TYPE easytcp_clients gauge\neasytcp_clients 1$/m, 'and what is');
    kill 'TERM', $child->pid;
    $child->wait;
}

my ($hybrid) = $server->clients;
is($hybrid->stats, undef, 'hybrid objects have none');
is($@, 'serverclient cannot use method stats()', 'as they say');
done_testing();
