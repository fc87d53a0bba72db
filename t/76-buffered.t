# What peers may make an object keep: maxbuffered, and memory that is not to be had. And a message that
# takes long to decode keeps nobody waiting.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my %plain = (donotencrypt => 1, donotcompress => 1);
my $TOO_MANY = 'Too many bytes are buffered';

# So many times "a" in the format of Compress::LZF.
sub lzf_bomb {
    my $left = shift;
    my $header = pack('C6', 0xfc | $left >> 30, map { 0x80 | $left >> $_ & 63 } 24, 18, 12, 6, 0);
    my $whole = int(($left - 1) / 264);
    my $rest = ($left - 1) % 264;
    return $header . "\0a" . "\xe0\xff\0" x $whole . "\0a" x $rest;
}

sub server_of {
    my ($server, $port) = new_server(@_);
    my %seen = (left => [], errors => [], got => []);
    $server->setcallback(
        data       => sub { push @{ $seen{got} }, length $_[0]->data },
        disconnect => sub { push @{ $seen{left} }, $_[1] },
        error      => sub { push @{ $seen{errors} }, $_[2] },
    ) or die $@;
    return ($server, $port, \%seen);
}

# ---- unfinished messages -------------------------------------------------------------------------

{
    my ($server, $port, $seen) = server_of(%plain, maxbuffered => 300_000);
    my @socks = map { raw_negotiate(raw_connect($port), loop_of($server)) } 1 .. 3;
    my @messages = map { packet(5, 'x' x $_) } 250_000, 200_000, 60_000;
    my @part = (170_000, 140_000, 50_000);
    my $writer = spawn(sub {
        my $me = shift;
        foreach my $i (0 .. 2) {
            write_to($socks[$i], substr $messages[$i], 0, $part[$i]);
            $me->report($i);
            $me->hear;
        }
        write_to($socks[1], substr $messages[1], $part[1]);
        write_to($socks[2], substr $messages[2], $part[2]);
        $me->hear;
    });
    foreach my $i (0 .. 2) {
        run_until($server, sub { defined $writer->poll });
        $server->do_one_loop(0) for 1 .. 50;
        run_until($server, sub { @{ $seen->{left} } }) if $i == 1;
        $writer->tell('go on');
    }
    is_deeply($seen->{left}, [$TOO_MANY], 'who holds most is closed');
    is_deeply($seen->{errors}, ['toobig'], 'and error is called');
    run_until($server, sub { @{ $seen->{got} } == 2 });
    is_deeply([ sort { $a <=> $b } @{ $seen->{got} } ], [ 60_000, 200_000 ], 'the others are not');
    is(scalar @{ $seen->{left} }, 1, 'not even later');
    $writer->tell('end');
}

# However little is allowed, 64 KiB of one client are.
{
    my ($server, $port, $seen) = server_of(%plain, maxbuffered => 1000);
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    write_to($sock, substr packet(5, 'x' x 60_000), 0, 50_000);
    $server->do_one_loop(0) for 1 .. 50;
    is_deeply($seen->{left}, [], 'who holds less than 64 KiB is never closed for it');
    write_to($sock, 'x' x 10_010);
    run_until($server, sub { @{ $seen->{got} } });
    is_deeply($seen->{got}, [60_000], 'and its message arrives');
}

# A connection that the loop of a server has made for a client is held to the limit of that client, and to
# no other: the server's own clients may have more.
{
    my ($server, $port, $seen) = server_of(%plain);
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    my $whole = packet(5, 'x' x 400_000);
    my $writer = spawn(sub {
        my $me = shift;
        write_to($sock, substr $whole, 0, 300_000);
        $me->report('written');
        $me->hear;
        write_to($sock, substr $whole, 300_000);
        $me->hear;
    });
    my $peer = spawn_peer(sub {
        $_[1]->raw_send(packet(5, 'x' x 90_000) . substr packet(5, 'x' x 200_000), 0, 150_000);
        $_[0]->hear;
    });
    my (@lost, @got);
    my $client = Net::EasyTCP->new(
        mode => 'client', host => '127.0.0.1', port => $peer->{port}, async => 1, loop => $server, %plain,
        maxbuffered => 100_000,
    ) or die $@;
    run_until($server, sub { defined $writer->poll });
    $server->do_one_loop(0) for 1 .. 50;
    $client->setcallback(data => sub { push @got, length $_[0]->data },
        disconnect => sub { push @lost, $_[1] }) or die $@;
    run_until($server, sub { @lost || @{ $seen->{left} } });
    is_deeply([ \@lost, $seen->{left} ], [ [$TOO_MANY], [] ],
        "a client in a server's loop: its limit is its own");
    is_deeply(\@got, [90_000], 'and what it holds within that arrives');
    $writer->tell('go on');
    run_until($server, sub { @{ $seen->{got} } });
    is_deeply($seen->{got}, [400_000], "as does what the server's client sends");
    $peer->kill;
    $writer->tell('end');
}

# ---- messages that nobody fetches ----------------------------------------------------------------

foreach my $case ([ 'scalars', packet(5, 'x' x 1000) ],
    [ 'structures', packet(7, "\5\13\2\0\0\0\144" . "\16" x 100) ]) {
    my ($name, $message) = @$case;
    my ($server, $port, $seen) = server_of(%plain, maxbuffered => 200_000);
    my $count = 0;
    my $client;
    $server->setcallback(data => sub { $count++; $client = shift });
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    my $writer = spawn(sub { eval { write_to($sock, $message x 1000) }; $_[0]->report('written') });
    run_until($server, sub { @{ $seen->{left} } });
    is($seen->{left}[0], $TOO_MANY, "$name that nobody fetches: their client is closed");
    cmp_ok($count, '<', 250, 'before many more have come');
    cmp_ok($count, '>', 10, 'and not before some have');
    is(scalar(grep { defined } map { scalar $client->data } 1 .. $count), $count, 'what came can be fetched');
}
{
    my ($server, $port, $seen) = server_of(%plain, maxbuffered => 200_000);
    my ($fetched, $count) = (0, 0);
    $server->setcallback(data => sub {
        my $client = shift;
        return if ++$count % 100;
        while (defined $client->data) { $fetched++ }
    });
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    my $writer = spawn(sub {
        write_to($sock, packet(5, 'x' x 1000) x 1000);
        $_[0]->report('written');
        $_[0]->hear;
    });
    run_until($server, sub { $count == 1000 });
    is($fetched, 1000, 'messages that are fetched later, in time: all arrive');
}

# A structure that Perl has to help with is decoded when it is fetched, even if its client has long gone.
{
    package Hooked;
    sub STORABLE_freeze { return 'hooked' }
    sub STORABLE_thaw { return }
}

foreach my $case ([ 200_000, 'within' ], [ 100_000, 'above' ]) {
    my ($limit, $where) = @$case;
    my ($server, $port, $seen) = server_of(%plain, maxbuffered => $limit);
    my ($kept, $count) = (undef, 0);
    $server->setcallback(data => sub { $count++; $kept = shift });
    my $client = Net::EasyTCP->new(mode => 'client', async => 1, host => '127.0.0.1', port => $port,
        loop => $server, %plain) or BAIL_OUT($@);
    $client->send('first');
    $client->send([ bless([], 'Hooked'), 'x' x 70_000 ]);
    run_until($server, sub { $count == 2 });
    $server->finish(0);
    $server->do_one_loop(0) for 1 .. 20;
    is(scalar $server->clientlist, 0, "a structure fetched late, $where the limit: its client has gone");
    is($kept->data, 'first', 'what was sent before is there');
    my ($structure, $is_there) = $kept->data;
    my ($text, $length) = ($@, ref $structure ? length $structure->[1] : 0);
    is($length, $where eq 'within' ? 70_000 : 0, "$where: as much of it as may be") or diag($text);
    like($text, $where eq 'within' ? qr/^$/ : qr/^Received data refused: Structure too large/, 'and a text');
}

# ---- decoding ------------------------------------------------------------------------------------

# A client that has agreed on LZF, or on the compressor of that letter.
sub compressing_peer {
    my ($server, $port, $letter) = @_;
    $letter ||= '2';
    my $peer = OldPeer->client(
        version     => '0.26',
        port        => $port,
        compressors => [$letter],
        on_packet   => sub { { CA => "CU\0$letter\0003.7", CU => "CU\0$letter" }->{ $_[1] } },
        $server ? (idle => loop_of($server)) : (),
    );
    return $peer || BAIL_OUT(OldPeer->error);
}

{
    my ($server, $port, $seen) = server_of(donotencrypt => 1, maxbuffered => 20_000_000);
    my $peer = compressing_peer($server, $port);
    my $small = compressing_peer($server, $port);
    $peer->raw_send(packet(0x15, lzf_bomb(19_000_000)));
    run_until($server, sub { @{ $seen->{got} } });
    is_deeply($seen->{got}, [19_000_000], 'a message within maxbuffered, decompressed');
    $peer->raw_send(packet(0x15, lzf_bomb(21_000_000)));
    run_until($server, sub { @{ $seen->{left} } });
    is_deeply($seen->{left}, [$TOO_MANY], 'one beyond it');
    $small->raw_send(packet(5, 'still here'));
    run_until($server, sub { @{ $seen->{got} } == 2 });
    is($seen->{got}[1], 10, 'others are served');
}

# Rounds go by while a message is decoded: nobody waits for its end.
{
    my ($server, $port, $seen) = server_of(donotencrypt => 1);
    my $peer = compressing_peer($server, $port);
    my $other = compressing_peer($server, $port);
    my $writer = spawn(sub {
        $peer->raw_send(packet(0x15, lzf_bomb(300_000_000)));
        $_[0]->report('written');
        $_[0]->hear;
    });
    run_until($server, sub { defined $writer->poll });
    my $rounds = 0;
    $other->raw_send(packet(5, 'me, too'));
    until (@{ $seen->{got} } > 1) { $server->do_one_loop; $rounds++ }
    is_deeply($seen->{got}, [ 7, 300_000_000 ], 'who sends a little is served before');
    cmp_ok($rounds, '>', 3, 'and the server has gone round meanwhile');
}

# Nor for one of which nothing comes out.
{
    my ($server, $port, $seen) = server_of(donotencrypt => 1);
    my $peer = compressing_peer($server, $port, '1');
    my $other = compressing_peer($server, $port);
    my $nothing = "\x78\x01" . "\0\0\0\xff\xff" x 4_000_000 . "\1\0\0\xff\xff\0\0\0\1";
    my $bytes = packet(0x15, $nothing);
    my $last  = chop $bytes;
    my $writer = spawn(sub { $peer->raw_send($bytes); $_[0]->report('written'); $_[0]->hear });
    run_until($server, sub { defined $writer->poll });
    $server->do_one_loop(0) for 1 .. 200;
    $peer->raw_send($last);
    $other->raw_send(packet(5, 'me, too'));
    run_until($server, sub { @{ $seen->{got} } > 1 });
    is_deeply($seen->{got}, [ 7, 0 ], 'blocks of nothing: who sends a little is served before');
    $writer->tell('end');
}

# ---- memory that is not to be had ----------------------------------------------------------------

# A server with little more memory than it needs. Its clients that send too much are closed.
SKIP: {
    my $status = '/proc/self/status';
    my $print = qq{open F, "$status"; print grep { s/^VmPeak:\\s*(\\d+) kB\\n/\$1/ } <F>};
    my $size = -r $status && `$^X -Mblib -MNet::EasyTCP -e '$print' 2>&1`;
    skip 'cannot limit memory here', 5 if !$size || $size !~ /^\d+$/;
    skip 'a sanitizer needs all the memory there is', 5 if $size > 1_000_000;
    skip 'cannot limit memory here', 5 if `sh -c 'ulimit -v 4000000 && echo can'` ne "can\n";
    skip 'an emulator needs memory of its own', 5 if $ENV{EASYTCP_TEST_EMULATED};
    my $most = $size + 100_000;
    my $program = <<'END';
use Net::EasyTCP;
$| = 1;
my $server = Net::EasyTCP->new(mode => "server", port => "00", localaddr => "127.0.0.1", donotencrypt => 1)
    or die $@;
$server->setcallback(
    data  => sub { my $data = $_[0]->data; $_[0]->send(ref $data ? "structure" : length $data) },
    error => sub { print "$_[2]: $_[1]\n" },
);
print $server->port, "\n";
$server->start;
END
    my $pid = open my $from, '-|', "ulimit -v $most && exec $^X -Mblib -e '$program'"
        or die "Cannot start a server: $!";
    chomp(my $port = <$from>);
    my %message = (
        'decompressed' => packet(0x15, lzf_bomb(200_000_000)),
        'plain'        => packet(5, 'x' x 130_000_000),
        'structure'    => packet(0x17, lzf_bomb_of("\5\13\2\0\77\377\377", "\16", 0x3fffff)),
    );
    foreach my $name (sort keys %message) {
        my $peer = compressing_peer(undef, $port);
        my $writer = spawn(sub { local $SIG{PIPE} = 'IGNORE'; eval { $peer->raw_send($message{$name}) } });
        my $answer = eval { $peer->receive }; # a server that had the memory says no line
        like(defined $answer ? "answered $answer" : scalar <$from>, qr/^(?:negotiation|decode): /,
            "$name, for which there is no memory: its connection ends");
        $peer->close;
    }
    my $peer = compressing_peer(undef, $port);
    $peer->raw_send(packet(5, 'x' x 1_000_000));
    is($peer->receive, 1_000_000, 'others are served');
    is(kill('KILL', $pid), 1, 'and the server still runs');
}

# The same, with so many bytes behind a head.
sub lzf_bomb_of {
    my ($head, $byte, $count) = @_;
    my $image = $head . $byte;
    my $left = $count - 1;
    my $length = length($image) + $left;
    my $header = pack('C6', 0xfc | $length >> 30, map { 0x80 | $length >> $_ & 63 } 24, 18, 12, 6, 0);
    return $header . pack('C', length($image) - 1) . $image . "\xe0\xff\0" x int($left / 264)
        . ("\0$byte" x ($left % 264));
}

done_testing();
