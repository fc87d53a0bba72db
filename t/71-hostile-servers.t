# A hostile server costs a client its connection to that server: new() or receive() fails with a text, the
# socket is closed, no code runs, memory stays small, and another connection of the same process goes on.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use File::Spec ();
use IO::Socket::INET;
use Net::EasyTCP;

my $FAIL = 'Error negotiating with server: ';
my $OUT_OF_STEP = qr/out of step/;
my $CLOSED = qr/Socket closed when attempted reading/;

my $good = spawn_server();
my $bystander = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $good->{port})
    or BAIL_OUT($@);

sub bystander_is_served {
    my $name = shift;
    ok($bystander->send($name) && $bystander->receive eq $name, "$name: the other connection works");
    return;
}

# ---- the villain --------------------------------------------------------------------------------

sub drain {
    my $sock = shift;
    1 while sysread $sock, my $bytes, 65536;
    return;
}

# A server that does to its n-th client what the n-th of the given codes says, and reports 'closed' when
# that client has closed.
sub villain {
    my @deeds = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5)
        or BAIL_OUT("cannot listen: $!");
    my $child = spawn(sub {
        my $me = shift;
        $SIG{PIPE} = 'IGNORE';
        foreach my $deed (@deeds) {
            my $sock = $listener->accept or die "accept: $!";
            $deed->($sock, $me);
            drain($sock);
            close $sock;
            $me->report('closed');
        }
    });
    $child->{port} = $listener->sockport;
    return $child;
}

sub says {
    my $bytes = shift;
    return sub { write_to($_[0], $bytes) };
}

# As says, and ends the connection's sending side, so that a client which waits for more learns of it.
sub says_last {
    my $bytes = shift;
    return sub { write_to($_[0], $bytes); shutdown $_[0], 1 };
}

sub commands { return join '', map { packet(1, $_) } @_ }
sub coded { return join '', map { sprintf '%%%02X', ord } split //, shift }

# ---- instead of a negotiation -------------------------------------------------------------------

my $marker = File::Spec->catfile(File::Spec->tmpdir, "easytcp-marker-$$");
unlink $marker;
my $code = qq{\$VAR1 = bless( do { open my \$f, '>', '$marker'; {} }, 'Crypt::RSA::Key::Private' );};
my $scalar = 'abcdefgh' x 16;
my $images = coded("\x05\x0b" . "\x02\x00\x00\x00\x01" x 2000);
my %password = (password => 'sesame');

my @cases = (
    [ 'a web server'               => says("HTTP/1.0 400 Bad Request\r\n\r\n"), $OUT_OF_STEP ],
    [ 'a mail server'              => says("220 mail.example.org ESMTP\r\n"), $OUT_OF_STEP ],
    [ 'zeros'                      => says("\0" x 100), $OUT_OF_STEP ],
    [ 'bit 0 clear'                => says("\x04\x01\x01x"), $OUT_OF_STEP ],
    [ 'a claim of 4 GiB'           => says("\x01\x04\xff\xff\xff\xff"), qr/exceeds the limit/ ],
    [ 'a claim of 1 MiB'           => says("\x01\x03\x10\x00\x00"), qr/exceeds the limit/ ],
    [ '255 length bytes'           => says("\x01\xff" . "\xff" x 255), $OUT_OF_STEP ],
    [ '8 length bytes'             => says("\x01\x08" . "\0" x 8), $OUT_OF_STEP ],
    [ 'data first'                 => says(packet(5, 'data')), qr/Data before/ ],
    [ 'EN as data'                 => says(packet(5, 'EN')), qr/Data before/ ],
    [ 'a bad image first'          => says(packet(7, "\x05\x33garbage")), qr/Data before/ ],
    [ 'encrypted first'            => says(packet(9, 'Salted__' . 'x' x 24)), qr/no cipher/ ],
    [ 'compressed first'           => says(packet(0x11, "x\x9c\x03\0\0\0\0\x01")), qr/no compressor/ ],
    [ 'an empty packet'            => says("\x01\x00"), qr/No command received/ ],
    [ '300,000 empty packets'      => says("\x01\x00" x 300_000), qr/No command received/ ],
    [ 'only separators'            => says(commands("\0" x 1000)), qr/No command received/ ],
    [ 'an internal image'          => says_last(packet(3, "\x05\x33garbage")), $CLOSED ],
    [ 'half a header'              => says_last("\x01"), $CLOSED ],
    [ 'half a packet'              => says_last("\x01\x01\x05VE"), $CLOSED ],
    [ 'nothing'                    => says_last(''), $CLOSED ],
    [ 'commands without end'       => says(commands(('NO') x 100_000)), qr/does not end/ ],
    [ 'all tags, empty'            => says_last(commands(qw(VE COS SVE EM EU EA EK CM CU CA NO))), $FAIL ],
    [ 'EK before anything'         => says_last(commands("EK\0" . 'k' x 60_000)), $CLOSED ],
    [ 'EK without a key'           => says(commands("VE\0000.26", "EA\0A\0004", 'EK')),
        qr/key for .* is unusable/ ],
    [ 'EU without end'             => says(commands(("EU\0A", "EU\0004") x 100)), qr/does not end/ ],
    [ 'EU of nothing known'        => says_last(commands("EU\0\xff", "EU\0", 'EU', "CU\0\xff", 'CU')),
        $CLOSED ],
    [ 'CU of RETURN1'              => says_last(commands("VE\0000.26", "CU\0RETURN1", "EU\0RETURN1")),
        $CLOSED ],
    [ 'SVE nested deep'            => says_last(commands("COS\0" . coded($scalar), "SVE\0003.26\0$images")),
        $CLOSED ],
    [ 'SVE that claims'            => says_last(commands('COS', "SVE\0003.26\0"
        . coded("\x05\x0b\x02\x7f\xff\xff\xff"))), $CLOSED ],
    [ 'SVE with an object'         => says_last(commands('COS', "SVE\0003.26\0"
        . coded("\x05\x0b\x11\x04Evil\x03\0\0\0\0"))), $CLOSED ],
    [ 'SVE of the future'          => says_last(commands('COS', "SVE\0003.26\0" . coded("\x05\x33garbage"))),
        $CLOSED ],
    [ 'COS of 20,000'              => says_last(commands("COS\0" . coded('x' x 20_000), 'SVE')), $CLOSED ],
    [ 'CM with a bomb'             => says_last(commands("COS\0" . coded($scalar), "CM\0002\0\0"
        . coded(lzf_bomb(1_000_000)))), $CLOSED ],
    [ 'code in EM'                 => says_last(commands("VE\0000.26", "COS\0" . coded($scalar),
                                         map { "EM\0$_\0001.99\0" . coded($code) . "\0"
                                             . coded('x' x 64) } qw(B A 4 2))), $CLOSED ],
    [ 'code in EK'                 => says(commands("VE\0000.26", "EA\0B", "EK\0"
        . OldPeer::munge(coded($code)))), $FAIL ],
    [ 'code in EK, frozen'         => says(commands("VE\0000.26", "EA\0B", "EK\0"
        . OldPeer::munge(coded("\x05\x0b\x1a\x0a" . chr(length $code) . $code)))), $FAIL ],
    [ 'EM with a bad container'    => says_last(commands("VE\0000.26", "COS\0" . coded($scalar),
                                         "EM\0004\0002.14\0" . coded('k' x 56) . "\0"
                                         . coded('no container'))), $CLOSED ],
    [ 'a costly salt'              => says(commands("VE\0000.26", "CS\0\$6\$rounds=999999999\$abcdefgh\$")),
        qr/salt/, %password ],
    [ 'a salt of one character'    => says(commands("VE\0000.26", "CS\0a")), qr/salt/, %password ],
    [ 'a salt of three'            => says(commands("VE\0000.26", "CS\0abc")), qr/salt/, %password ],
    [ 'no salt'                    => says(commands("VE\0000.26", 'CS')), qr/salt/, %password ],
    [ 'a binary salt'              => says(commands("VE\0000.26", "CS\0\xff\xfe")), qr/salt/, %password ],
    [ 'another scheme\'s salt'     => says(commands("VE\0000.26", "CS\0_a")), qr/salt/, %password ],
    [ 'no password asked'          => says(commands("VE\0000.26", 'EN')), qr/password is required/, %password,
        requirepassword => 1 ],
    [ 'no cipher'                  => says(commands("VE\0000.26", 'EN')), qr/Encryption is required/,
        requireencryption => 1 ],
    [ 'a cipher without a key'     => says(commands("VE\0000.26", "EA\0A", 'EN')), qr/Encryption is required/,
        requireencryption => 1 ],
    [ 'one byte at a time'         => \&drip_feed, qr{timed out while negotiating with server \[\d+/1\]},
        negotiationtimeout => 1 ],
);

# A message of Compress::LZF: one literal byte, then copies of it, each 264 bytes for three.
sub lzf_bomb {
    my $size = shift;
    no warnings;
    my $claim = chr $size;
    utf8::encode($claim);
    return $claim . "\x00a" . "\xe0\xff\x00" x (($size - 1) / 264);
}

# Every byte starts a wait anew, but not the negotiation's deadline.
sub drip_feed {
    my $sock = shift;
    my @bytes = split //, packet(1, 'x' x 60_000);
    while (@bytes && write_to($sock, shift @bytes)) { select undef, undef, undef, 0.05 }
    return;
}

{
    my $villain = villain(map { $_->[1] } @cases);
    foreach my $case (@cases) {
        my ($name, undef, $text, %o) = @$case;
        my $client = client_to($villain, negotiationtimeout => 100, %o);
        my $error = $@;
        is($client, undef, "$name: no client");
        like($error, ref $text ? qr/^\Q$FAIL\E.*$text/ : qr/^\Q$text\E/, "$name: why");
        is($villain->line, 'closed', "$name: closed");
        bystander_is_served($name);
    }
    ok(!-e $marker, 'no code was run');
    unlink $marker;
    $villain->kill;
}

# ---- after the negotiation ----------------------------------------------------------------------

# Lets the client in (as 1.00, with these commands before EN), then does the deed.
sub lets_in {
    my ($deed, @commands) = @_;
    return sub {
        my ($sock, $me) = @_;
        foreach my $command ("VE\0001.00", @commands, 'EN') {
            write_to($sock, packet(1, $command));
            read_packet($sock) or die "client left\n";
        }
        return $deed->($sock, $me);
    };
}

my $zlib_bomb = eval { require Compress::Zlib; Compress::Zlib::compress("\0" x 100_000_000) };
my %small = (maxmessage => 1_000_000);

@cases = (
    [ 'bit 0 clear'             => says("\x04\x01\x01x"), $OUT_OF_STEP ],
    [ 'text'                    => says("hello\r\n"), $OUT_OF_STEP ],
    [ 'a claim of 4 GiB'        => says("\x05\x04\xff\xff\xff\xff"), qr/exceeds the limit/ ],
    [ 'a claim above maxmessage' => says("\x05\x03\x0f\x42\x41"), qr/exceeds the limit/, [], %small ],
    [ '255 length bytes'        => says("\x05\xff" . "\xff" x 255), $OUT_OF_STEP ],
    [ 'encrypted'               => says(packet(0x0d, 'Salted__' . 'x' x 24)), qr/no cipher/ ],
    [ 'compressed'              => says(packet(0x15, "x\x9c\x03\0\0\0\0\x01")), qr/no compressor/ ],
    [ 'zlib garbage'            => says(packet(0x15, 'x' x 100)), qr/could not be decoded/, ["CA\0001"] ],
    [ 'zlib of nothing'         => says(packet(0x15, '')), qr/could not be decoded/, ["CA\0001"] ],
    [ 'LZF garbage'             => says(packet(0x15, "\x7f\xff\xff\xff" x 20)), qr/could not be decoded/,
        ["CA\0002"] ],
    [ 'LZF of nothing'          => says(packet(0x15, "\x41\x00")), qr/could not be decoded/, ["CA\0002"] ],
    [ 'an LZF bomb'             => says(packet(0x15, lzf_bomb(2_000_001))), qr/could not be decoded: size/,
        ["CA\0002"], %small ],
    [ 'an LZF bomb that lies'   => says(packet(0x15, 'A' . substr lzf_bomb(2_000_001), 4)),
        qr/could not be decoded/, ["CA\0002"], %small ],
    [ 'an LZF bomb beyond maxbuffered' => says(packet(0x15, lzf_bomb(2_000_001))),
        qr/Too many bytes are buffered/, ["CA\0002"],
        maxbuffered => 1_000_000 ],
    [ 'half a packet'           => says_last("\x05\x02\xff\xff" . 'x' x 100), $CLOSED ],
    [ 'a claim of half a GiB'        => says_last("\x05\x04\x1f\xff\xff\xf0" . 'x' x 10_000), $CLOSED ],
    [ 'a bad image'             => says(packet(7, 'not an image')), qr/^Error decoding received data/ ],
    [ 'an image of the future'  => says(packet(7, "\x67\x61\x08\x81")), qr/^Error decoding received data/ ],
    [ 'an image that claims'    => says(packet(7, "\x05\x0b\x02\x7f\xff\xff\xff")),
        qr/^Error decoding received data/ ],
    [ 'an image nested deep'    => says(packet(7, "\x05\x0b" . "\x04" x 300_000 . "\x05")),
        qr/^Error decoding received data/ ],
    [ 'an image of code'        => says(packet(7, "\x05\x0b\x1a\x0a\x05exit1")),
        qr/^Error decoding received data/ ],
    [ 'internal packets, then no more' => says_last(commands('EN', '', 'PF', "EK\0x", 'NO')), $CLOSED ],
);
push @cases, [ 'a zlib bomb' => says(packet(0x15, $zlib_bomb)), qr/could not be decoded: size/, ["CA\0001"],
    %small ]
    if $zlib_bomb;

{
    my $villain = villain(map { lets_in($_->[1], @{ $_->[3] || [] }) } @cases);
    my $before = rss_kb();
    foreach my $case (@cases) {
        my ($name, undef, $text, undef, %o) = @$case;
        my $client = client_to($villain, %o) or BAIL_OUT("$name: $@");
        $@ = '';
        is($client->receive(100), undef, "$name, later: no message");
        like($@, $text, "$name, later: why");
        is($client->receive(100), undef, "$name, later: no message after it");
        $client->close;
        is($villain->line, 'closed', "$name, later: closed");
        bystander_is_served("$name, later");
    }
    $villain->kill;
    SKIP: {
        skip 'no /proc to see memory with', 1 unless defined $before;
        my $grown = rss_kb() - $before;
        cmp_ok($grown, '<', 100_000, "memory does not grow by claims or bombs ($grown KiB)");
    }
}

# 300,000 empty packets in 600 KB took 0.26 almost a gigabyte.
foreach my $case ([ 'empty messages' => "\x05\x00" ], [ 'empty internal packets' => "\x01\x00" ]) {
    my ($name, $bytes) = @$case;
    my $villain = villain(lets_in(says($bytes x 300_000 . packet(5, 'the last'))));
    my $client = client_to($villain) or BAIL_OUT($@);
    my $before = rss_kb();
    my $got;
    while (defined($got = $client->receive)) { last if $got ne '' }
    is($got, 'the last', "300,000 $name are dealt with");
    cmp_ok(rss_kb() - $before, '<', 50_000, "300,000 $name take work, not memory") if defined $before;
    $client->close;
    $villain->kill;
    bystander_is_served("300,000 $name");
}

# A server that reads nothing: send() waits, but not for ever.
{
    my $villain = villain(lets_in(sub { $_[1]->hear }));
    my $client = client_to($villain, sendtimeout => 1) or BAIL_OUT($@);
    my $sent = 0;
    $@ = '';
    $sent++ while $sent < 1000 && $client->send('x' x 1_000_000);
    cmp_ok($sent, '<', 1000, "a server that reads nothing: send() fails ($sent MB were accepted)");
    like($@, qr/^Error (?:sending data|writing to socket)/, 'with a text');
    is($client->send('more'), undef, 'and goes on failing');
    $villain->kill;
    bystander_is_served('a server that reads nothing');
}

# Demanded encryption: a message in clear is refused, from old servers only if demanded.
SKIP: {
    my %usable = map { $_ => 1 } OldPeer->usable_ciphers;
    skip 'no Crypt::Blowfish and Crypt::CBC', 32 unless $usable{4};
    my $villain = spawn_peer(sub {
        my ($me, $peer) = @_;
        $peer->raw_send($_) foreach map { packet(5, $_) } 'in', 'clear';
        drain($peer->socket);
        $me->report('closed');
    }, version => '0.26', ciphers => ['4']);
    my $client = client_to($villain) or BAIL_OUT($@);
    is($client->receive(100), 'in', 'a message in clear from an old server with a cipher is taken');
    $client->close;
    is($villain->line, 'closed', 'done');
    $client = client_to($villain, requireencryption => 1) or BAIL_OUT($@);
    is($client->encryption, 'Crypt::Blowfish', 'requireencryption is content with its cipher');
    is($client->receive(100), undef, 'and refuses a message in clear');
    like($@, qr/An unencrypted message on an encrypted connection/, 'with a text');
    is($client->receive(100), undef, 'and all that follow');
    $client->close;
    $villain->kill;
    bystander_is_served('messages in clear');

    # Bytes that do not open. Under a key that nobody knows, one in 256 blocks ends like padding: where there
    # are whole blocks, they are a message without its last one, and end in "x".
    my $unpadded = sub { substr $_[0]->_seal('x' x $_[1]), 0, -8 };
    my @garbage = (
        sub { $unpadded->($_[0], 64) }, sub { $unpadded->($_[0], 8) }, 'Salted__saltsalt',
        'Salted__saltsaltxyz',
        '', 'x' x 40, sub { local $_[0]{container} = 'C1'; $unpadded->($_[0], 40) }, 'RandomIV',
    );
    my $n = 0;
    $villain = spawn_peer(sub {
        my ($me, $peer) = @_;
        my $bytes = $garbage[ $n++ ];
        $peer->raw_send(packet(0x0d, ref $bytes ? $bytes->($peer) : $bytes));
        drain($peer->socket);
        $me->report('closed');
    }, version => '0.26', ciphers => ['4']);
    foreach (@garbage) {
        $client = client_to($villain) or BAIL_OUT($@);
        is($client->receive(100), undef, 'what does not open: no message');
        like($@, qr/could not be decoded: encryption/, 'why');
        $client->close;
        is($villain->line, 'closed', 'closed');
    }
    $villain->kill;
    bystander_is_served('what does not open');
}

$good->kill('TERM');
done_testing();
