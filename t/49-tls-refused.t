# What a client that demands TLS, a key or an authority refuses, and what it has said until then: no hash of
# the password, no proof of it, no message. Somebody in between writes down every byte that it sends.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use Between;
use EasyTCPTest;
use OldPeer;
use File::Temp ();
use Net::EasyTCP;

plan skip_all => "TLS cannot be had: $@" if !tls_usable();

my $folder = File::Temp::tempdir('tls-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $other  = 'SHA256:' . '11' x 32;

# The server's end of a relay that reports what the client says; change->() may change the welcome, $_.
sub listening {
    my ($port, $change) = @_;
    my $welcome = in_welcome($change || sub { });
    return between($port, sub {
        my ($who, $number, $unit, $me) = @_;
        $me->report(unpack 'H*', $unit) if $who eq 'client';
        return $welcome->($who, $number, $unit);
    });
}

# Everything that a client has said to a relay that has ended.
sub said {
    my $relay = shift;
    my @units;
    while (defined(my $line = $relay->poll)) { push @units, pack 'H*', $line }
    return @units;
}

# A record of TLS that can hold neither a proof nor a message: one of the handshake in clear, a
# change_cipher_spec, or an alert, whose two bytes are 24 in a sealed record.
sub is_harmless {
    my $record = shift;
    return $record =~ /\A[\x14\x15\x16]/ || $record =~ /\A\x17/ && length $record <= 24;
}

# A refusal of an offer of TLS, or of what is no such offer: nothing at all was said.
sub refuses_in_clear {
    my ($name, $text, $relay, @options) = @_;
    ok(!client_to($relay->{port}, password => 'sesame', @options), "$name: refused");
    like($@, qr/^Error negotiating with server: $text$/, "$name: text");
    # What a server of old asks before the salt is answered; the salt is not.
    my $all = join '', said($relay);
    unlike($all, qr/CP\0|\x04Z|ETCP1.*sesame/s, "$name: no hash has left");
    unlike($all, qr/\0Z[A-P][.\/0-9A-Za-z]{11}/, "$name: in no other packet either");
    $relay->kill;
    return;
}

# A refusal of a key: of TLS, only what comes before the client has seen it, and an alert.
sub refuses_the_key {
    my ($name, $text, $relay, @options) = @_;
    ok(!client_to($relay->{port}, @options), "$name: refused");
    like($@, qr/^Error negotiating with server: $text$/, "$name: text");
    my ($answer, @records) = said($relay);
    like($answer, qr/\A\x01\x01.NO\0.*\0ETCP1\0[\d.]+\0\0\0\0\0[^\0]*T1\z/s,
        "$name: the answer holds neither key nor hash");
    cmp_ok(scalar @records, '>=', 1, "$name: TLS was tried");
    is(scalar(grep { !is_harmless($_) } @records), 0, "$name: nothing but ClientHello and an alert has left");
    $relay->kill;
    return;
}

# ---- no TLS where it is demanded ---------------------------------------------------------------------

my $secret = spawn_server(password => 'sesame', tlskey => "$folder/key.pem");
my $clear  = spawn_server(password => 'sesame', donotencryptwith => 'TLS');
my $missing = 'The server offers no TLS';
my %DEMANDS = (
    requireencryption => [ requireencryption => 'TLS' ],
    'a list of TLS'   => [ requireencryption => ['TLS'] ],
    tlsfingerprint    => [ tlsfingerprint => $other ],
    tlsca             => [ tlsca => "$folder/ca.pem" ],
    tlsknownhosts     => [ tlsknownhosts => "$folder/known" ],
);
{
    # A certificate of the server's own, which is also the authority.
    my $openssl = `openssl version 2>&1`;
    my $command = 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
        . " -subj /CN=somebody -keyout $folder/ca-key.pem -out $folder/ca.pem 2>/dev/null";
    if (!defined $openssl || $openssl !~ /^OpenSSL/ || system $command) {
        note('no openssl program to make an authority with');
        delete $DEMANDS{tlsca};
    }
}
foreach my $name (sort keys %DEMANDS) {
    my @demand = @{ $DEMANDS{$name} };
    refuses_in_clear("$name, a server without TLS", $missing, listening($clear->{port}), @demand);
    my $stripped = listening($secret->{port}, sub { s/T1\w*\z// });
    refuses_in_clear("$name, the offer taken away", $missing, $stripped, @demand);
    $stripped = listening($secret->{port}, sub { s/\0ETCP1.*//s });
    refuses_in_clear("$name, all fields taken away", $missing, $stripped, @demand);
}
foreach my $version ('0.10', '0.18', '0.26') {
    my $old = spawn_peer(sub { }, version => $version, password => 'sesame');
    refuses_in_clear("TLS required, a server of $version", $missing, listening($old->{port}),
        requireencryption => 'TLS');
    $old->kill;
}

# ---- offers that vanish ------------------------------------------------------------------------------

my $marked = 'The salt tells of TLS, but the offer is missing: somebody is in between';
refuses_in_clear('a marked salt in the offer', $marked, listening($secret->{port}, sub { s/T1\w*\z// }));
refuses_in_clear('a marked salt in CS', $marked, listening($secret->{port}, sub { s/\0ETCP1.*//s }));
{
    my $away = 0;
    my $good = listening($secret->{port}, sub { s/T1\w*\z// if $away++ });
    my $client = client_to($good->{port}, password => 'sesame');
    is($client && $client->trust, 'password', 'the first time nobody is in between') or diag $@;
    $client->close;
    said($good);
    refuses_in_clear('TLS spoken before',
        'The server spoke TLS before and offers none now: somebody may be in between', $good);
}

# ---- keys of others ----------------------------------------------------------------------------------

my $key = client_to($secret->{port}, password => 'sesame')->peerfingerprint;
my $unexpected = "The server's key is not the expected one: $key";
my $unverified = "The server's certificate does not verify: .+";
my $open_server = spawn_server(tlskey => "$folder/key.pem");
foreach my $case ([ $secret, password => 'sesame' ], [$open_server]) {
    my ($server, @options) = @$case;
    my $kind = @options ? 'a password' : 'no password';
    refuses_the_key("$kind, fingerprint", $unexpected, listening($server->{port}), @options,
        tlsfingerprint => $other);
    refuses_the_key("$kind, fingerprints", $unexpected, listening($server->{port}), @options,
        tlsfingerprint => [ $other, 'SHA256:' . '22' x 32 ]);
    refuses_the_key("$kind, authority", $unverified, listening($server->{port}), @options,
        tlsca => "$folder/ca.pem") if $DEMANDS{tlsca};
    my $relay = listening($server->{port});
    my $known = "$folder/known-$relay->{port}";
    open my $out, '>', $known or die $!;
    print {$out} "127.0.0.1:$relay->{port} $other\n";
    close $out;
    refuses_the_key("$kind, known hosts", "The server's key changed since \Q$known\E noted it: $key", $relay,
        @options, tlsknownhosts => $known);
    open my $in, '<', $known or die $!;
    is(join('', <$in>), "127.0.0.1:$relay->{port} $other\n", "$kind, known hosts: the file is as it was");
}
SKIP: {
    skip 'no openssl program', 5 if !$DEMANDS{tlsca};
    my $server = spawn_server(tlscert => "$folder/ca.pem", tlskey => "$folder/ca-key.pem");
    my @ca = (tlsca => "$folder/ca.pem");
    refuses_the_key('another name', $unverified, listening($server->{port}), @ca);
    ok(client_to($server->{port}, @ca, tlsname => 'somebody'), 'its own name') or diag $@;
    $server->kill;
}

# A server that is not right about the password gets a proof that is of no use to it, and no message.
{
    my $relay = listening($secret->{port});
    ok(!client_to($relay->{port}, password => 'sesami'), 'another password: refused');
    like($@, qr/: The server does not know the password$/, 'another password: text');
    my (undef, @records) = said($relay);
    is(scalar(grep { !is_harmless($_) } @records), 2, 'another password: Finished and HI alone have left');
    $relay->kill;
}

# ---- what a server that wants nothing but TLS says ---------------------------------------------------

{
    my $strict = spawn_server(password => 'sesame', requireencryption => 'TLS');
    foreach my $version (qw(0.06 0.10 0.18 0.19 0.26)) {
        my $relay = between($strict->{port}, sub {
            my ($who, $number, $unit, $me) = @_;
            $me->report(unpack 'H*', $unit);
            return $unit;
        });
        ok(!OldPeer->client(version => $version, port => $relay->{port}, password => 'sesame'),
            "a client of $version: refused");
        my $all = join '', said($relay);
        unlike($all, qr/\x04?CS\0|CP\0/, "a client of $version: no salt, no hash");
        like($all, qr/COF\0TLS/, "a client of $version: is told why") if $version ne '0.06';
        $relay->kill;
    }
    $strict->kill;
}

# ---- a salt that is like the mark by chance ----------------------------------------------------------

# An old server that draws these salts, one for each connection, and tells what it is answered.
sub spawn_drawing {
    my ($version, @salts) = @_;
    return EasyTCPTest::_learn_port(spawn(sub {
        my $me = shift;
        local $SIG{PIPE} = 'IGNORE';
        my $listener = OldPeer->listener(version => $version, password => 'sesame') or die OldPeer->error;
        $me->report('PORT ' . $listener->port);
        while (1) {
            my $peer = $listener->accept(fixed_salt => shift @salts || 'xy');
            $me->report($peer ? 'CONNECTED' : 'FAILED');
            $peer->send($peer->receive) if $peer;
        }
    }), 'drawing server');
}

SKIP: {
    skip 'no traditional crypt() here', 1 unless OldPeer->has_crypt;
    foreach my $version (qw(0.07 0.08 0.10 0.17 0.18)) {
        my $server = spawn_drawing($version, 'ZB', 'Zq', 'ZC', 'ZD', 'ZE');
        my $client = client_to($server->{port}, password => 'sesame');
        ok($client, "$version draws a marked salt once: connected") or diag $@;
        $client->send('hello') if $client;
        is($client && $client->receive(60), 'hello', "$version draws a marked salt once: talks");
        is_deeply([ map { $server->line } 1, 2 ], [qw(FAILED CONNECTED)],
            "$version: by the second connection");
        $client->close if $client;
        ok(!client_to($server->{port}, password => 'sesame'), "$version draws one twice: refused");
        like($@, qr/: \Q$marked\E$/, "$version draws one twice: text");
        is_deeply([ map { $server->line } 1, 2 ], [qw(FAILED FAILED)], "$version: there was no third");
        $server->kill;
    }

    my $server = spawn_drawing('0.18', 'ZP', 'aa');
    my $loop = client_to($server->{port}, password => 'sesame', async => 1);
    my ($got, $failed);
    $loop->setcallback(data => sub { $got = $_[0]->data }, error => sub { $failed = $_[1] });
    $loop->send('hello');
    $loop->process(0.1) until defined $got || $failed;
    is($got, 'hello', 'a client with callbacks does the same');
    $server->kill;

    # Those that never draw such a salt are not asked again.
    foreach my $version (qw(0.19 0.26)) {
        $server = spawn_drawing($version, 'ZA', 'ZA');
        ok(!client_to($server->{port}, password => 'sesame'), "$version cannot have drawn it: refused");
        like($@, qr/: \Q$marked\E$/, "$version cannot have drawn it: text");
        is($server->line, 'FAILED', "$version: one connection");
        ok(!defined $server->poll, "$version: and no other");
        $server->kill;
    }
}

$_->kill foreach $secret, $clear, $open_server;
done_testing();
