# Strangers' bytes cannot end a server, run code in it, size an allocation or disturb its clients.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use File::Spec ();
use Net::EasyTCP;

my $server = spawn_server(
    donotencrypt => 1, donotcompress => 1, negotiationtimeout => 600, maxhalfopen => 0,
    callbacks => { data => sub {
        my $client = shift;
        my $data = eval { $client->data };
        return unless defined $data;
        $data = 'clients ' . $EasyTCPTest::Server->clients if $data eq 'clients?';
        $client->send(ref $data ? 'structure' : $data);
    } },
);
my $port = $server->{port};
my $bystander = OldPeer->client(version => '0.19', port => $port) or BAIL_OUT(OldPeer->error);
my $before = rss_kb($server->pid);

# The server is alive, its clients are served and nobody else is listed.
sub healthy {
    my ($name, $clients) = @_;
    my $text = "ping $name";
    eval { $bystander->send($text) };
    my $back = eval { $bystander->receive };
    if (!defined $back || $back ne $text) {
        fail("$name: the server lives");
        BAIL_OUT('the server died: ' . (defined $server->poll ? 'with a report' : 'silently'))
            if $server->ended;
        return;
    }
    pass("$name: the server lives");
    return unless defined $clients;
    $bystander->send('clients?');
    is($bystander->receive, "clients $clients", "$name: clients()");
    return;
}

sub connected { return OldPeer->client(version => '0.19', port => $port) || BAIL_OUT(OldPeer->error) }

# Reads until the end; false if it does not come (the guard ends the test then).
sub closes {
    my $sock = shift;
    while (1) {
        my $n = sysread $sock, my $bytes, 65536;
        next if !defined $n && $!{EINTR};
        return 1 unless $n;
    }
}

# ---- before the negotiation ends ----------------------------------------------------------------

# These cannot be packets: the connection is closed.
my %closed = (
    'a telnet user'                => "hello?\r\n",
    'an HTTP request'              => "GET / HTTP/1.0\r\n\r\n",
    'zeros'                        => "\0" x 100,
    'bit 0 clear'                  => "\x04\x01\x01x",
    'a header claiming 4 GiB'      => "\x01\x04\xff\xff\xff\xff",
    'a header claiming 1 MiB'      => "\x01\x03\x10\x00\x00",
    'more length bytes than any'   => "\x01\xff" . "\xff" x 255,
    'eight length bytes'           => "\x01\x08" . "\0" x 8,
    'data claiming 4 GiB'          => "\x05\x04\xff\xff\xff\xff" . 'x' x 1000,
    'an encrypted claim of 4 GiB'  => "\x0d\x04\xff\xff\xff\xff" . 'x' x 1000,
);
foreach my $name (sort keys %closed) {
    my $sock = raw_connect($port);
    write_to($sock, $closed{$name});
    ok(closes($sock), "$name: closed");
    healthy($name, 1);
}

# These may be answered, ignored or closed, but end nothing.
my %survived = (
    'nothing'                      => '',
    'half a header'                => "\x01",
    'half a packet'                => "\x01\x01\x05VE",
    'random bytes'                 => join('', map { chr(($_ * 167 + 13) & 255) } 1 .. 5000),
    'an empty packet'              => "\x01\x00",
    'many empty packets'           => "\x01\x00" x 50_000,
    'many unknown replies'         => packet(1, 'NO') x 20_000,
    'a reply of separators'        => packet(1, "\0" x 1000),
    'a reply with a huge tag'      => packet(1, 'A' x 60_000),
    'an empty data packet'         => "\x05\x00",
    'many data packets'            => packet(5, 'data') x 1000,
    'a bad image'                  => packet(7, 'not an image'),
    'a bad image, internal'        => packet(3, "\x05\x33garbage"),
    'an empty image'               => packet(7, ''),
    'an image of the future'       => packet(7, "\x05\x33\x08\x81"),
    'an encrypted packet'          => packet(9, 'Salted__' . 'x' x 24),
    'a compressed packet'          => packet(0x11, 'x' x 24),
    'encrypted and compressed'     => packet(0x19, "\xff" x 24),
    'VE without a version'         => packet(1, 'VE'),
    'VE of binary'                 => packet(1, "VE\0\xff\xfe\x01"),
    'VE of a long number'          => packet(1, "VE\0" . '9' x 5000),
    'VE nan'                       => packet(1, "VE\0nan"),
    'EN at once, twice'            => packet(1, 'EN') x 2,
    'EU of nothing offered'        => packet(1, "EU\0A\0" . '2.14'),
    'EU of Crypt::RSA'             => packet(1, "EU\0B\0" . '1.99'),
    'CU of nothing offered'        => packet(1, "CU\0\x31\0" . '2'),
    'EK before EU'                 => packet(1, "EK\0" . 'k' x 56),
    'EK of %XX'                    => packet(1, "EK\0" . '%05%0B%03%00%00%00%01' x 50),
    'SVE with a bad image'         => packet(1, "SVE\0003.26\0%05%0B%FF%FF"),
    'SVE with a claim'             => packet(1, "SVE\0003.26\0%05%0B%02%7F%FF%FF%FF"),
    'SVE nested deep'              => packet(1, "SVE\0003.26\0%05%0B" . '%02%00%00%00%01' x 4000),
    'SVE of bad armour'            => packet(1, "SVE\0003.26\0%ZZ%4"),
    'COS of nothing'               => packet(1, 'COS'),
    'CM of nothing'                => packet(1, 'CM'),
    'CM of everything'             => packet(1, "CM\0\x31\0x\0" . '%78%9C%FF' x 100),
    'EM of nothing'                => packet(1, 'EM'),
    'CP without CS'                => packet(1, "CP\0abnqrLigH.z/s"),
    'all tags at once'             => join('', map { packet(1, $_) } qw(VE COS SVE EM EU EK CM CU CP NO)),
);
foreach my $name (sort keys %survived) {
    my $sock = raw_connect($port);
    write_to($sock, $survived{$name});
    shutdown $sock, 1;
    closes($sock);
    healthy($name);
    close $sock;
}
healthy('all of that', 1);

# Code in the private-key field of EM is text, never program. It would leave a file.
{
    my $marker = File::Spec->catfile(File::Spec->tmpdir, "easytcp-marker-$$");
    unlink $marker;
    my $code = qq{bless( do { open my \$f, '>', '$marker' }, 'Crypt::RSA::Key::Private' )};
    my $modern = spawn_server();
    foreach my $answer_to (qw(EM EA SVE VE)) {
        foreach my $key ('B', 'A', '2') {
            my $sent;
            OldPeer->client(version => '0.26', port => $modern->{port}, deadline => 5, on_packet => sub {
                my ($peer, $tag) = @_;
                return unless $tag eq $answer_to && !$sent++;
                return join "\0", 'EM', $key, '1.99', OldPeer::armour($code), OldPeer::armour('x' x 64);
            });
        }
    }
    ok(!-e $marker, 'code in EM is not run');
    unlink $marker;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $modern->{port});
    ok($client && $client->send('x') && $client->receive eq 'x', 'and the server lives');
    $modern->kill('TERM');
}

# ---- connections that never finish --------------------------------------------------------------

{
    my @open = map { raw_connect($port) } 1 .. 100;
    healthy('a hundred silent connections', 1);
    my @half = map { my $s = raw_connect($port); write_to($s, "\x01\x02\xff"); $s } 1 .. 100;
    healthy('a hundred half packets', 1);
}

# ---- after the negotiation ----------------------------------------------------------------------

%closed = (
    'bit 0 clear'                  => "\x04\x01\x01x",
    'a header claiming 4 GiB'      => "\x05\x04\xff\xff\xff\xff",
    'eight length bytes'           => "\x05\x08" . "\0" x 8,
    'text'                         => "hello\r\n",
);
foreach my $name (sort keys %closed) {
    my $peer = connected();
    $peer->raw_send($closed{$name});
    ok(closes($peer->socket), "$name, later: closed");
    healthy("$name, later", 1);
}

%survived = (
    'a bad image'                  => packet(7, 'not an image'),
    'an image of the future'       => packet(7, "\x05\x33\x08\x81"),
    'an image of the other order'  => packet(7, "\x04\x0b\x0812345678\x04\x08\x08\x08\x03\x00\x00\x00\x00"),
    'a cut image'                  => packet(7, substr Storable::nfreeze([ 1 .. 50 ]), 0, 40),
    'an image that claims'         => packet(7, "\x05\x0b\x02\x7f\xff\xff\xff"),
    'a hash image that claims'     => packet(7, "\x05\x0b\x03\x7f\xff\xff\xff"),
    'a string image that claims'   => packet(7, "\x05\x0b\x01\x7f\xff\xff\xff"),
    'a reference out of range'     => packet(7, "\x05\x0b\x00\x00\x00\xff\xff"),
    'an image nested deep'         => packet(7, "\x05\x0b" . "\x02\x00\x00\x00\x01" x 200_000 . "\x05"),
    'references nested deep'       => packet(7, "\x05\x0b" . "\x04" x 300_000 . "\x05"),
    'a code image'                 => packet(7, "\x05\x0b\x1a\x0a\x05exit1"),
    'a hook image'                 => packet(7, "\x05\x0b\x13\x04\x0aNo::Such::X\x00\x00"),
    'encrypted without a cipher'   => packet(0x0d, 'Salted__' . 'x' x 24),
    'compressed without a module'  => packet(0x15, "\x78\x9c\x03\x00\x00\x00\x00\x01"),
    'everything at once'           => packet(0x1f, 'x' x 100),
    'internal packets'             => packet(1, 'EN') . packet(1, '') . packet(1, 'PF') . packet(1, "EK\0x"),
    'a new negotiation'            => join('', map { packet(1, $_) } "VE\0000.07", "EU\0A", "EK\0k", "CP\0x",
        'EN'),
    'half a packet'                => "\x05\x02\xff\xff" . 'x' x 100,
);
foreach my $name (sort keys %survived) {
    my $peer = connected();
    $peer->raw_send($survived{$name});
    shutdown $peer->socket, 1;
    closes($peer->socket);
    healthy("$name, later");
    $peer->close;
}
healthy('all of that, later', 1);

# 300,000 empty messages in 600 KB, and as many internal packets: work, not memory.
foreach my $case ([ 'empty messages' => "\x05\x00" ], [ 'empty internal packets' => "\x01\x00" ]) {
    my ($name, $bytes) = @$case;
    my $peer = connected();
    my $writer = spawn(sub { $peer->raw_send($bytes x 300_000); $peer->raw_send(packet(5, 'the last')) });
    my $got;
    while (defined($got = $peer->receive)) { last if $got ne '' }
    is($got, 'the last', "300,000 $name are dealt with");
    $writer->wait;
    $peer->close;
    healthy("300,000 $name", 1);
}

# A claim of two gigabytes costs what was sent, not what was said.
SKIP: {
    skip 'no /proc to see memory with', 1 unless defined $before;
    my @peers = map { connected() } 1 .. 20;
    $_->raw_send("\x05\x04\x1f\xff\xff\xf0" . 'x' x 10_000) foreach @peers;
    healthy('twenty claims of half a GiB', 21);
    my $grown = rss_kb($server->pid) - $before;
    cmp_ok($grown, '<', 300_000, "memory grows by what arrives, not by what is claimed ($grown KiB)");
}

ok(!$server->ended, 'the same server process all the time');
$server->kill('TERM');

# ---- with modules and a password ----------------------------------------------------------------

my $zlib = grep { $_ eq '1' } OldPeer->usable_compressors;    # perl 5.8.9 came without Compress::Zlib
SKIP: {
    my %usable = map { $_ => 1 } OldPeer->usable_ciphers;
    skip 'no Crypt::Blowfish and Crypt::CBC', 1 unless $usable{4};
    my $locked = spawn_server(password => 'sesame', negotiationtimeout => 600);
    my %o = (version => '0.26', port => $locked->{port}, ciphers => ['4'], password => 'sesame');
    $o{compressors} = ['1'] if $zlib;
    my $good = OldPeer->client(%o) or BAIL_OUT(OldPeer->error);
    my %garbage = (
        'CBC garbage'             => packet(0x0d, 'Salted__' . 'saltsalt' . 'x' x 64),
        'CBC of one block'        => packet(0x0d, 'Salted__' . 'saltsalt' . 'x' x 8),
        'CBC without a block'     => packet(0x0d, 'Salted__' . 'saltsalt'),
        'CBC of half a block'     => packet(0x0d, 'Salted__' . 'saltsalt' . 'xyz'),
        'CBC of nothing'          => packet(0x0d, ''),
        'CBC without a header'    => packet(0x0d, 'x' x 40),
        'CBC of the other kind'   => packet(0x0d, 'RandomIV' . 'x' x 40),
        'CBC, only a header'      => packet(0x0d, 'RandomIV'),
        'zlib garbage'            => packet(0x15, 'x' x 100),
        'zlib cut short'          => packet(0x15, "x\x9c\xab\xa8\x18\x05\xa3\x60\x14\x0c\x77\0"),
        'zlib of nothing'         => packet(0x15, ''),
        'a complex one in it'     => packet(0x1f, 'Salted__' . 'x' x 56),
    );
    foreach my $name (sort keys %garbage) {
        my $peer = OldPeer->client(%o) or BAIL_OUT(OldPeer->error);
        $peer->raw_send($garbage{$name});
        shutdown $peer->socket, 1;
        closes($peer->socket);
        $good->send("ping $name");
        is($good->receive, "ping $name", "$name: the server lives");
    }

    # Nobody gets past the password.
    foreach my $case (
        [ 'EN first'         => sub { $_[1] eq 'VE' ? 'EN' : undef } ],
        [ 'NO to CS'         => sub { $_[1] eq 'CS' ? 'NO' : undef } ],
        [ 'EN to CS'         => sub { $_[1] eq 'CS' ? 'EN' : undef } ],
        [ 'an empty hash'    => sub { $_[1] eq 'CS' ? "CP\0" : undef } ],
        [ 'a bare CP'        => sub { $_[1] eq 'CS' ? 'CP' : undef } ],
        [ 'the failure token' => sub { $_[1] eq 'CS' ? "CP\0" . OldPeer::munge('*0') : undef } ],
        [ 'staying after PF' => sub { $_[1] eq 'PF' ? 'NO' : undef }, 'wrong' ],
        [ 'many guesses'     => sub { $_[1] eq 'CS' || $_[1] eq 'PF' ? "CP\0guess" : undef } ],
    ) {
        my ($name, $on_packet, $password) = @$case;
        my $child = spawn(sub {
            my $me = shift;
            my $n = 0;
            my $peer = OldPeer->client(%o, password => $password, deadline => 3, on_packet => sub {
                die "enough\n" if $n++ > 200;
                return $on_packet->(@_);
            });
            $peer->send('let in?') if $peer;
            my $answer = $peer ? eval { $peer->receive } : undef;
            $me->report(defined $answer ? "answer $answer" : 'no answer');
        });
        is($child->line, 'no answer', "$name: not let in");
        $child->wait;
        $good->send("ping $name");
        is($good->receive, "ping $name", "$name: the server lives");
    }

    # After a cipher was agreed a bomb is still bounded by maxmessage.
    $locked->kill('TERM');
}
SKIP: {
    skip 'no Compress::Zlib', 2 unless $zlib;
    my $small = spawn_server(donotencrypt => 1, maxmessage => 1_000_000);
    my $peer = OldPeer->client(version => '0.26', port => $small->{port}, compressors => ['1'])
        or BAIL_OUT(OldPeer->error);
    my $was = rss_kb($small->pid);
    my $bomb = OldPeer::_deflate({ compressor => '1' }, "\0" x 200_000_000);
    $peer->raw_send(packet(0x15, $bomb));
    ok(closes($peer->socket), 'a compressed bomb beyond maxmessage: closed');
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $small->{port});
    ok($client && $client->send('x') && $client->receive eq 'x', 'and the server lives');
    cmp_ok(rss_kb($small->pid) - $was, '<', 50_000, 'without inflating it') if defined $was;
    $small->kill('TERM');
}

done_testing();
