# Large messages, plain, compressed and encrypted.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

sub memory_mb {
    open my $fh, '<', '/proc/meminfo' or return;
    while (<$fh>) { return int($1 / 1024) if /^MemAvailable:\s+(\d+)/ }
    return;
}

sub client_of {
    my $server = shift;
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}, @_)
        || BAIL_OUT("cannot connect: $@");
}

my $unit = pack 'V*', map { $_ * 2654435761 % 4294967296 } 1 .. 16384;    # 64 KiB, hard to compress

foreach my $case ([ plain => (donotencrypt => 1, donotcompress => 1) ],
    [ compressed => (donotencrypt => 1, compress => 'always') ], [ encrypted => (donotcompress => 1) ],
    [ both => (compress => 'always') ]) {
    my ($name, @options) = @$case;
    my $server = spawn_server(@options);
    my $client = client_of($server);
    foreach my $size (1, 4095, 4096, 32767, 32768, 32769, 65535, 65536, 1 << 20) {
        my $data = substr $unit x (1 + int($size / length $unit)), 0, $size;
        ok($client->send($data), "$name: send $size bytes") or diag $@;
        my $back = $client->receive;
        ok(defined $back && $back eq $data, "$name: $size bytes come back as they were");
    }
    my $zeros = "\0" x 5_000_000;
    $client->send($zeros);
    ok($client->receive eq $zeros, "$name: five million zero bytes");
    my $list = [ map { { number => $_, text => "line $_", list => [ 1 .. 3 ] } } 1 .. 5000 ];
    $client->send($list);
    is_deeply($client->receive, $list, "$name: a structure of thousands of hashes");
    $client->send('after');
    is($client->receive, 'after', "$name: the connection goes on");
    $client->close;
    $server->kill('TERM');
}

SKIP: {
    my $memory = memory_mb();
    skip 'less than 2 GB of memory to spare, or none told', 3 unless defined $memory && $memory > 2048;
    my $server = spawn_server(donotencrypt => 1, donotcompress => 1);
    my $client = client_of($server);
    my $huge = $unit x 1024;
    substr $huge, 1 << 20, 4, 'mark';
    ok($client->send($huge), 'send 64 MiB') or diag $@;
    my $back = $client->receive;
    ok(defined $back && $back eq $huge, '64 MiB come back as they were');
    $client->send('small');
    is($client->receive, 'small', 'the connection goes on');
    $client->close;
    $server->kill('TERM');
}

# Longer than maxmessage: refused, and only this connection ends.
{
    my $server = spawn_server(donotencrypt => 1, donotcompress => 1, maxmessage => 100_000);
    my ($one, $other) = (client_of($server), client_of($server));
    $one->send('x' x 100_000);
    is(length $one->receive, 100_000, 'a message of exactly maxmessage bytes passes');
    $one->send('x' x 100_001);
    ok(!defined $one->receive, 'one byte more ends the connection');
    like($@, qr/^(?:Socket closed when attempted reading$|Failed to read from socket: )/, 'seen as such');
    $other->send('unharmed');
    is($other->receive, 'unharmed', 'other clients are not concerned');
    $server->kill('TERM');
}
{
    my $server = spawn_server(donotencrypt => 1,
        callbacks => { data => sub { $_[0]->send('x' x $_[0]->data) } });
    my $client = client_of($server, maxmessage => 1000);
    $client->send(1000);
    is(length $client->receive, 1000, 'a client takes what its maxmessage allows');
    $client->send(1001);
    ok(!defined $client->receive, 'and refuses one byte more');
    isnt($@, '', 'and says why');
    ok(!$client->send('x' x 1001), 'nor sends it');
    like($@, qr/^Error sending data: /, 'and says so');
    $server->kill('TERM');
}

done_testing();
