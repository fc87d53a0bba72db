# Every limit: what values it takes, that it holds, and that the others do not notice.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;
use Storable ();

my %plain = (donotencrypt => 1, donotcompress => 1);

# ---- values -------------------------------------------------------------------------------------

my %echo = (host => '127.0.0.1', port => spawn_server()->{port});

sub client_with { $@ = ''; return Net::EasyTCP->new(mode => 'client', %echo, @_) }
sub server_with { $@ = ''; return Net::EasyTCP->new(mode => 'server', port => '00', @_) }

my %refused = (
    maxmessage         => [ '', 'big', '10k', 0, -1, 'nan' ],
    maxdepth           => [ '', 'deep', 0, -1 ],
    highwater          => [ '', 'low', -1, 'nan' ],
    sendtimeout        => [ '', 'soon', '5 s', -1 ],
    whenfull           => [ '', 'Wait', 'never', 1 ],
    negotiationtimeout => [ '', 'soon', -0.5 ],
    idletimeout        => [ '', 'later', -1 ],
    maxclients         => [ '', 'many', -1 ],
    maxhalfopen        => [ '', 'few', -1 ],
);
foreach my $name (sort keys %refused) {
    foreach my $value (@{ $refused{$name} }) {
        is(server_with($name => $value), undef, "$name '$value': no server");
        like($@, qr/^Invalid \Q$name\E '\Q$value\E': must be .*\w/, "$name '$value': why");
    }
    is(client_with($name => 'x'), undef, "$name 'x': no client");
    like($@, qr/^Invalid \Q$name\E 'x': must be /, "$name 'x': why");
}
foreach my $case (
    [ maxmessage => 1, '1e9', ' 5 ', 2**31, 1e300, 'inf' ],
    [ maxdepth => 1, 1e9 ],
    [ highwater => 0, 1, 1e30 ],
    [ sendtimeout => 0, 0.5, 1e30 ],
    [ whenfull => 'wait', 'fail', 'close' ],
    [ negotiationtimeout => 0, 45, 1e30 ],
    [ idletimeout => 0, 1e30 ],
    [ maxclients => 0, 10 ],
    [ maxhalfopen => 0, 10 ],
) {
    my ($name, @values) = @$case;
    ok(server_with($name => $_), "$name '$_': a server") || diag $@ foreach @values;
    ok(server_with($name => undef), "$name undef: a server");
}
foreach my $value ({}, \'x', sub { }) {
    is(server_with(allowclasses => $value), undef, 'allowclasses of a wrong kind: no server');
    like($@, qr/^Invalid allowclasses: must be /, 'why');
}
ok(server_with(allowclasses => $_), 'allowclasses of a right kind') foreach 'all', 'none', [], ['A'], 'A';

# ---- nesting ------------------------------------------------------------------------------------

sub nested {
    my $depth = shift;
    my $value = 'bottom';
    $value = [$value] foreach 1 .. $depth;
    return $value;
}

{
    my $server = spawn_server(%plain, maxdepth => 50, callbacks => { data => sub {
        my $data = $_[0]->data;
        $EasyTCPTest::Me->report(defined $data ? 'data' : "none: $@");
    }, disconnect => sub { $EasyTCPTest::Me->report('disconnect') } });
    my $deep = OldPeer->client(version => '0.19', port => $server->{port}) or BAIL_OUT(OldPeer->error);
    my $other = OldPeer->client(version => '0.19', port => $server->{port}) or BAIL_OUT(OldPeer->error);
    $deep->send(nested(49));
    is($server->line, 'data', 'maxdepth 50: 49 levels pass');
    $deep->send(nested(60));
    like($server->line, qr/^(?:none: Error decoding|disconnect)/, '60 are refused');
    $other->send(nested(10));
    my $line = $server->line;
    $line = $server->line if $line eq 'disconnect';
    is($line, 'data', 'the others are served');
    $server->kill;

    my $peer = spawn_peer(sub { $_[1]->send(nested($_)) foreach 40, 60 }, version => '0.19');
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $peer->{port},
        maxdepth => 50);
    is(ref $client->receive, 'ARRAY', 'a client with maxdepth 50 takes 40 levels');
    $@ = '';
    is($client->receive, undef, 'but not 60');
    like($@, qr/^Error decoding received data: /, 'and says why');
    $peer->kill;
}

# ---- size after decompression, in both formats --------------------------------------------------

{
    my ($server, $port) = new_server(donotencrypt => 1, maxmessage => 100_000);
    my (@got, $gone);
    $server->setcallback(data => sub { push @got, length $_[0]->data }, disconnect => sub { $gone++ });
    my $idle = loop_of($server);
    my $other = OldPeer->client(version => '0.19', port => $port, idle => $idle);
    # One literal byte, then copies of it, 264 at a time: 264 + 1 bytes for each three.
    my %lzf = (
        'that tells its size' => "\xf0\x90\x80\x80\x00a" . "\xe0\xff\x00" x 1000,
        'that lies'           => 'A' . "\x00a" . "\xe0\xff\x00" x 1000,
        'that claims more'    => "\xfd\xbf\xbf\xbf\xbf\xbf\x00a" . "\xe0\xff\x00" x 10,
    );
    foreach my $name (sort keys %lzf) {
        my $peer = OldPeer->client(version => '0.26', port => $port, idle => $idle, compressors => ['2'],
            on_packet => sub { { CA => "CU\0002\0003.7", CU => "CU\0002" }->{ $_[1] } });
        BAIL_OUT(OldPeer->error) unless $peer;
        $gone = 0;
        $peer->raw_send(packet(0x15, $lzf{$name}));
        run_until($server, sub { $gone });
        is(scalar @got, 0, "an LZF bomb $name is no message, and its connection ends");
        $other->send('x' x 100_000);
        run_until($server, sub { @got });
        is(shift @got, 100_000, 'the others are served');
    }
}

# ---- strangers ----------------------------------------------------------------------------------

# Half-open connections beyond maxhalfopen: honest clients get through a flood that never ends.
{
    my $server = spawn_server(%plain, maxhalfopen => 20, negotiationtimeout => 600);
    my $old = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
        or BAIL_OUT($@);
    my @flood = map { raw_connect($server->{port}) } 1 .. 30;
    my $new = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port});
    ok($new && $new->send('new') && $new->receive eq 'new', 'maxhalfopen: a new client gets through a flood');
    ok($old->send('old') && $old->receive eq 'old', 'an old one is served');
    $server->kill;
}

# A stranger who sends a byte now and then keeps nothing alive.
{
    my ($server, $port) = new_server(%plain, negotiationtimeout => 1);
    my $connects = 0;
    $server->setcallback(connect => sub { $connects++ }, data => sub { $_[0]->send($_[0]->data) });
    my $idle = loop_of($server);
    my $other;    # on a busy machine it may take longer itself
    $other = OldPeer->client(version => '0.19', port => $port, idle => $idle) until $other;
    run_until($server, sub { $connects });
    $connects = 0;
    my $drip = raw_connect($port);
    my $bytes = packet(1, 'x' x 60_000);
    my $sent = 0;
    my $closed;
    until ($closed) {
        $sent += syswrite $drip, substr($bytes, $sent, 1);
        $server->do_one_loop;
        while (IO::Select->new($drip)->can_read(0)) {
            my $n = sysread $drip, my $answer, 4096;
            $closed = 1, last if !$n;
        }
    }
    cmp_ok($sent, '>', 1, "negotiationtimeout ends one that drips ($sent bytes)");
    $other->send('alive');
    is($other->receive, 'alive', 'the others are served');
    is($connects, 0, 'no callback for the stranger');
}

# ---- what is demanded ---------------------------------------------------------------------------

SKIP: {
    skip 'no traditional crypt() here', 10 unless OldPeer->has_crypt;
    my ($server, $port) = new_server(%plain, password => 'sesame');
    my (@events, @got);
    $server->setcallback(
        connect => sub { push @events, 'connect' },
        data => sub { push @got, scalar $_[0]->data },
        disconnect => sub { push @events, 'disconnect' },
    );
    my $idle = loop_of($server);
    my $other = OldPeer->client(version => '0.19', port => $port, idle => $idle, password => 'sesame');
    run_until($server, sub { @events });
    @events = ();

    # One guess for each connection, even when more follow in the same segment.
    my $sock = raw_connect($port);
    syswrite $sock, join '', packet(1, 'NO'), packet(1, "VE\0000.19");
    my @seen;
    while (my (undef, $payload) = read_packet($sock, $idle)) {
        push @seen, $payload =~ /^([A-Z]+)/ ? $1 : 'WELCOME';
        syswrite $sock, packet(1, "CP\0guess") x 50 . packet(1, 'EN') . packet(5, 'data')
            if $payload =~ /^CS/;
    }
    is_deeply(\@seen, [qw(WELCOME VE CS PF)], 'one guess, PF, and the connection is closed');

    # No EN, and no data, gets in before the password.
    foreach my $case (
        [ 'EN for CP' => packet(1, 'EN') ],
        [ 'EN for CP, twice' => packet(1, 'EN') x 2 . packet(5, 'data') ],
        [ 'data for CP' => packet(5, 'data') ],
        [ 'an image for CP' => packet(7, "\x05\x33garbage") ],
        [ 'CP as data' => packet(5, "CP\0" . crypt('sesame', 'ab')) ],
    ) {
        my ($name, $bytes) = @$case;
        $sock = raw_connect($port);
        syswrite $sock, join '', packet(1, 'NO'), packet(1, "VE\0000.19");
        while (my (undef, $payload) = read_packet($sock, $idle)) {
            last if $payload =~ /^EN/;
            syswrite $sock, $bytes if $payload =~ /^CS/;
        }
        is_deeply([ @events, @got ], [], "$name: no connect, no data");
    }
    $other->send('alive');
    run_until($server, sub { @got });
    is_deeply(\@got, ['alive'], 'the others are served');
}

# Messages in clear where encryption is demanded, and from 1.x peers always.
SKIP: {
    my %usable = map { $_ => 1 } OldPeer->usable_ciphers;
    skip 'no Crypt::Blowfish and Crypt::CBC', 7 unless $usable{4};
    foreach my $case ([ 'taken from an old client', 0, [ 'clear', 'sealed' ] ],
        [ 'refused on demand', 1, [ 'sealed' ] ]) {
        my ($name, $demanded, $want) = @$case;
        my ($server, $port) = new_server(requireencryption => $demanded);
        my (@got, $gone);
        $server->setcallback(data => sub { push @got, scalar $_[0]->data }, disconnect => sub { $gone++ });
        my $idle = loop_of($server);
        my ($bad, $good) = map {
            OldPeer->client(version => '0.26', port => $port, idle => $idle, ciphers => ['4'])
                or BAIL_OUT(OldPeer->error)
        } 1, 2;
        $bad->raw_send(packet(5, 'clear'));
        run_until($server, sub { $gone || @got });
        $good->send('sealed');
        run_until($server, sub { grep { $_ eq 'sealed' } @got });
        is_deeply(\@got, $want, "a message in clear is $name");
        is($gone ? 1 : 0, $demanded, 'and costs its connection if it is refused');
    }
    my ($server, $port) = new_server(requireencryption => 1);
    my $connects = 0;
    $server->setcallback(connect => sub { $connects++ });
    my $idle = loop_of($server);
    is(OldPeer->client(version => '0.26', port => $port, idle => $idle), undef,
        'requireencryption: a client without ciphers is refused');
    ok(OldPeer->client(version => '0.26', port => $port, idle => $idle, ciphers => ['4']),
        'one with a cipher is not');
    run_until($server, sub { $connects });
    is($connects, 1, 'one connect callback');
}

done_testing();
