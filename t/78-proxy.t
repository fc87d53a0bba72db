# Clients behind a proxy that tells who they are: proxyfrom, proxyip. t/c/ has the cases; this is how
# programs see them.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my (@connected, @errors);
my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1,
    proxyfrom => [ '10.0.0.0/8', '127.0.0.1' ]);
my $loop = loop_of($server);
$server->setcallback(
    connect => sub { push @connected, $_[0] },
    data    => sub { $_[0]->send($_[0]->remoteip) },
    error   => sub { push @errors, [ @_[ 1 .. $#_ ] ] },
);

sub connect_by {
    my $header = shift;
    my $sock   = raw_connect($port);
    write_to($sock, $header);
    raw_negotiate($sock, $loop);
    run_until($server, sub { @connected });
    return ($sock, shift @connected);
}

{
    my ($sock, $client) = connect_by("PROXY TCP4 192.0.2.7 127.0.0.1 4711 2345\r\n");
    is($client->remoteip,   '192.0.2.7', 'version 1: the address');
    is($client->remoteport, 4711,        'the port');
    is($client->{_remoteip}, '192.0.2.7', 'as in the slot');
    is($client->proxyip, '127.0.0.1', 'and who told it');
    write_to($sock, packet(5, 'who am I?'));
    is((read_packet($sock, $loop))[1], '192.0.2.7', 'messages as ever');
    $client->close;
    is($client->proxyip, '127.0.0.1', 'also after close');
}
{
    my $header = "\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" . ("\x20\x01\x0d\xb8" . "\0" x 11 . "\1") x 2
        . pack 'n2', 1, 2;
    my ($sock, $client) = connect_by($header);
    is($client->remoteip, '2001:db8::1', 'version 2');
}
{
    my ($sock, $client) = connect_by("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    is($client->remoteip, '127.0.0.1', 'a proxy that speaks for itself');
}
{
    my $sock = raw_connect($port);
    write_to($sock, "GET / HTTP/1.0\r\n\r\n");
    ok(has_closed($sock, $loop), 'what has no header');
    run_until($server, sub { @errors });
    is_deeply(\@errors, [ [ 'malformed PROXY header', 'proxy', '127.0.0.1' ] ], 'is told');
    @errors = ();
    close raw_connect($port);
    my $other = raw_connect($port);
    write_to($other, "PROXY UNKNOWN\r\n");
    ok((read_packet($other, $loop))[1], 'a test of health sees the welcome');
    setsockopt $other, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'l2', 1, 0;
    close $other;
    my ($sock2) = connect_by("PROXY UNKNOWN\r\n");
    is_deeply(\@errors, [], 'and is not told of');
}
{
    my ($direct, $direct_port) = new_server(donotencrypt => 1, donotcompress => 1, proxyfrom => '192.0.2.1');
    my $client;
    $direct->setcallback(connect => sub { $client = $_[0] });
    my $sock = raw_negotiate(raw_connect($direct_port), loop_of($direct));
    run_until($direct, sub { $client });
    is($client->proxyip, undef, 'who is no proxy connects without a header');
}
foreach my $wrong ('10.0.0.0/99', [ '127.0.0.1', 'x/y' ]) {
    my $name = ref $wrong ? $wrong->[-1] : $wrong;
    ok(!Net::EasyTCP->new(mode => 'server', port => '00', proxyfrom => $wrong), "proxyfrom $name");
    is($@, "'$name' is not an address", 'is an error');
}
done_testing();
