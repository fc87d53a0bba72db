# TLS between two peers of this release: what it gives without any option, whom the options trust, and
# what somebody in between can do.
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

sub talks {
    my ($client, $name) = @_;
    return fail("$name: $@") if !$client;
    my $message = { name => $name, long => 'x' x 50_000 };
    $client->send($message);
    is_deeply($client->receive(60), $message, "$name: talks");
    return;
}

sub refuses {
    my ($name, $port, $text, @options) = @_;
    ok(!defined client_to($port, @options), "$name: refused");
    like($@, qr/^Error negotiating with server: $text/, "$name: text");
    return;
}

my $folder = File::Temp::tempdir('tls-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# ---- without any option ------------------------------------------------------------------------------

{
    my $server = spawn_server();
    my $client = client_to($server->{port});
    talks($client, 'no option');
    is($client->encryption,  'TLS',            'no option: encryption');
    is($client->compression, 'Compress::Zlib', 'no option: compression');
    is($client->trust,       undef,            'no option: nothing was trusted');
    is($client->fingerprint, undef,            'no option: no key of its own');
    like($client->peerfingerprint, qr/\ASHA256:[0-9a-f]{64}\z/, 'no option: the key of the server');
    is(client_to($server->{port})->peerfingerprint, $client->peerfingerprint, 'no option: always the same');
    $client->close;
    is($client->encryption, 'TLS', 'no option: encryption after the end');
    $client = client_to($server->{port});
    $client->send([ 0.1 + 0.2 ]); # which an end that was not told about exact numbers gets as text
    cmp_ok($client->receive(60)->[0], '==', 0.1 + 0.2,
        'the very first message knows what the server can read');

    foreach my $options ([ donotencrypt => 1 ], [ donotencryptwith => 'TLS' ],
        [ requireencryption => ['Crypt::Twofish'] ])
    {
        $client = client_to($server->{port}, @$options);
        talks($client, "@$options[0]");
        isnt($client->encryption, 'TLS', "$options->[0]: no TLS");
        is($client->peerfingerprint, undef, "$options->[0]: no key");
    }
    $client = client_to($server->{port}, requireencryption => [qw(TLS Crypt::Twofish)]);
    is($client->encryption, 'TLS', 'requireencryption with TLS in the list');
    my $old = OldPeer->client(version => '0.26', port => $server->{port});
    $old->send('old');
    is($old->receive, 'old', 'an old client connects');
    $server->kill;
}

is($Net::EasyTCP::_ENCRYPT_AVAILABLE{_order}[0], 'T', 'TLS is the first module');
is($Net::EasyTCP::_ENCRYPT_AVAILABLE{T}{name}, 'TLS', 'by its name');
like($Net::EasyTCP::_ENCRYPT_AVAILABLE{T}{version}, qr/^\d+\.\d+\.\d+/, 'with the version of the library');

# ---- passwords ---------------------------------------------------------------------------------------

{
    my $server = spawn_server(password => 'correct horse battery staple');
    my $client = client_to($server->{port}, password => 'correct horse battery staple');
    talks($client, 'password');
    is($client->trust, 'password', 'password: is what was trusted');
    refuses('another one', $server->{port}, 'The server does not know the password$',
        password => 'correct horse battery stable');
    refuses('none', $server->{port}, 'The server does not know the password$');
    $server->kill;

    $server = spawn_server();
    refuses('a password nobody asks for', $server->{port},
        'A password is required, but the server asked for none$', password => 'x');
    talks(client_to($server->{port}, password => 'x', requirepassword => 0), 'unless that is allowed');
    $server->kill;
}

# ---- nothing but TLS ---------------------------------------------------------------------------------

{
    my $server = spawn_server(requireencryption => 'TLS', password => 'sesame');
    talks(client_to($server->{port}, password => 'sesame'), 'nothing but TLS');
    refuses('without TLS', $server->{port}, '.*regarding: TLS$', password => 'sesame',
        donotencryptwith => 'TLS');
    ok(!OldPeer->client(version => '0.26', port => $server->{port}, password => 'sesame'),
        'an old client is refused');
    $server->kill;

    $server = spawn_server(donotencryptwith => 'TLS');
    refuses('the client wants TLS', $server->{port}, 'The server offers no TLS$', requireencryption => 'TLS');
    refuses('the client names a key', $server->{port}, 'The server offers no TLS$',
        tlsfingerprint => 'SHA256:' . '00' x 32);
    $server->kill;
    ok(!client_to(1, requireencryption => 'TLS', donotencrypt => 1), 'required and forbidden');
    is($@, 'TLS is both required and forbidden', 'text');
}

# ---- keys --------------------------------------------------------------------------------------------

{
    my $key    = "$folder/key.pem";
    my $server = spawn_server(tlskey => $key);
    is((stat $key)[2] & 0777, 0600, 'the key is made, for its owner');
    my $fingerprint = client_to($server->{port})->peerfingerprint;
    my $client = client_to($server->{port}, tlsfingerprint => uc $fingerprint);
    talks($client, 'fingerprint in upper case');
    $client = client_to($server->{port}, tlsfingerprint => [ 'SHA256:' . '11' x 32, $fingerprint ]);
    talks($client, 'fingerprint');
    is($client->trust, 'fingerprint', 'fingerprint: is what was trusted');
    refuses('another fingerprint', $server->{port},
        "The server's key is not the expected one: $fingerprint\$", tlsfingerprint => 'SHA256:' . '11' x 32);
    ok(!client_to($server->{port}, tlsfingerprint => 'aa'), 'a malformed fingerprint');
    is($@, q{Invalid tlsfingerprint 'aa': must be SHA256: and 64 hexadecimal digits}, 'text');

    my $known = "$folder/known";
    is(client_to($server->{port}, tlsknownhosts => $known)->trust, 'firstuse',
        'known hosts: the first time');
    is(client_to($server->{port}, tlsknownhosts => $known)->trust, 'knownhost',
        'known hosts: the second time');
    open my $in, '<', $known or die $!;
    is(join('', <$in>), "127.0.0.1:$server->{port} $fingerprint\n", 'known hosts: the file');
    $server->kill;

    $server = spawn_server(tlskey => $key);
    is(client_to($server->{port})->peerfingerprint, $fingerprint, 'the key is used again');
    $server->kill;

    $server = spawn_server();
    open my $out, '>', $known or die $!;
    print {$out} "127.0.0.1:$server->{port} $fingerprint\n";
    close $out;
    refuses('known hosts: another key', $server->{port},
        "The server's key changed since \Q$known\E noted it: SHA256:",
        tlsknownhosts => $known);
    $server->kill;

    # Certificates on both sides.
    my ($own, $port) = new_server(tlskey => $key);
    is($own->fingerprint, $fingerprint, 'a server knows its own key');
    undef $own;
    my $client_key = "$folder/client.pem";
    $server = spawn_server();
    $client = client_to($server->{port}, tlskey => $client_key);
    my $client_print = $client->fingerprint;
    like($client_print, qr/\ASHA256:/, 'a client with a key of its own');
    $server->kill;
    $server = spawn_server(tlsfingerprint => $client_print);
    talks(client_to($server->{port}, tlskey => $client_key), 'a client by its key');
    refuses('a client without it', $server->{port}, '(?:TLS|The peer ended TLS): ');
    $server->kill;

    foreach my $case ([ tlscert => "$folder/none" ], [ tlsca => "$folder/none" ],
        [ tlskey => "$folder/no/key" ],
        [ tlsknownhosts => "$folder/no/file" ])
    {
        ok(!client_to(1, @$case), "$case->[0] that cannot be used");
        like($@, qr/^$case->[0]: \Q$case->[1]\E: ./, 'text');
    }
    ok(!client_to(1, tlsgroups => 'nothing'), 'tlsgroups that cannot be used');
    is($@, 'tlsgroups: nothing is not known', 'text');
    ok(!Net::EasyTCP->new(mode => 'server', port => '00', tlsgroups => 'nothing'), 'at a server neither');
}

# ---- somebody in between -----------------------------------------------------------------------------

my $server = spawn_server();
my $secret = spawn_server(password => 'sesame');

# Who changes nothing but sees every byte alone.
{
    my $relay = between($server->{port}, sub { $_[2] }, 1);
    talks(client_to($relay->{port}), 'byte by byte');
    $relay->kill;
    $relay = between($secret->{port}, sub { $_[2] }, 1);
    talks(client_to($relay->{port}, password => 'sesame'), 'byte by byte, password');
    $relay->kill;
}

# The offer taken away.
{
    my $strip = in_welcome(sub { s/T1\w*\z// });
    my $relay = between($server->{port}, $strip);
    my $client = client_to($relay->{port});
    isnt($client && $client->encryption, 'TLS',
        'no password, no demand: nothing shows it, as the manual says');
    $client->close if $client; # the relay takes one connection at a time
    refuses('T1 away, TLS required', $relay->{port}, 'The server offers no TLS$', requireencryption => 'TLS');
    $relay->kill;
    $relay = between($secret->{port}, $strip);
    refuses('T1 away, password', $relay->{port},
        'The salt tells of TLS, but the offer is missing: somebody is in between$', password => 'sesame');
    $relay->kill;
    $relay = between($secret->{port}, in_welcome(sub { s/T1\w*\z//; s/\0Z[A-P]\0/\0aa\0/ }));
    refuses('T1 and the mark away', $relay->{port}, 'Server rejected supplied password$',
        password => 'sesame');
    $relay->kill;
    # The whole offer, so that the long handshake follows: CS asks for the password.
    $relay = between($secret->{port}, in_welcome(sub { s/\0ETCP1.*//s }));
    refuses('the offer away', $relay->{port},
        'The salt tells of TLS, but the offer is missing: somebody is in between$', password => 'sesame');
    $relay->kill;
}

# Whom this process spoke TLS with stays so for an hour.
{
    my $away;
    my $relay = between($server->{port}, sub {
        my ($who, $number, $unit) = @_;
        return $unit if $who ne 'server' || $number;
        return $unit if !$away++;
        return repacked($unit, sub { s/T1\w*\z// });
    });
    my $client = client_to($relay->{port});
    is($client && $client->encryption, 'TLS', 'the first time nobody is in between');
    $client->close if $client;
    refuses('the second time somebody is', $relay->{port},
        'The server spoke TLS before and offers none now: somebody may be in between$');
    talks(client_to($relay->{port}, donotencryptwith => 'TLS'), 'unless the user wants none');
    $relay->kill;
}

# Anything else changed in clear shows inside.
foreach my $case (
    [ 'a letter of a cipher'   => sub { s/\0AC/\0CA/ } ],
    [ 'the salt'               => sub { s/\0Z[A-P]\0/\0ZQ\0/ } ],
    [ 'the key'                => sub { s/%(..)/$1 eq '41' ? '%42' : '%41'/e } ],
    [ 'the version'            => sub { s/\b1\.10\0/1.11\0/ } ],
    [ 'the text'               => sub { s/HELLO/HULLO/ } ],
    [ 'the flag w away'        => sub { s/T1w\z/T1/ } ],
    [ 'the flag r added'       => sub { s/T1w\z/T1wr/ } ],
    [ 'another item'           => sub { s/T1w\z/T1wZ9/ } ],
  )
{
    my ($name, $change) = @$case;
    my $relay = between($secret->{port}, in_welcome($change));
    ok(!client_to($relay->{port}, password => 'sesame'), "$name: not connected");
    $relay->kill;
}
{
    my $relay = between($server->{port}, sub {
        my ($who, $number, $unit) = @_;
        return $who eq 'client' && !$number ? repacked($unit, sub { s/understand/misunderstand/ }) : $unit;
    });
    my $client = client_to($relay->{port});
    # Nothing is missing for the client to send; but the server refuses to listen.
    if ($client) {
        $client->send('x');
        is($client->receive(60), undef, 'the answer changed: nothing gets through');
    }
    else {
        pass('the answer changed: not connected');
    }
    $relay->kill;
}

# Bytes around the switch.
{
    my $hello = packet(1, "HI\0001.10");
    my $relay = between($server->{port}, sub { $_[0] eq 'server' && !$_[1] ? "$_[2]$hello" : $_[2] });
    refuses('a packet behind the welcome', $relay->{port}, 'Clear text behind the offer of TLS$');
    $relay->kill;
    foreach my $extra ($hello, packet(5, 'injected'), "\x16\x03\x01\0\x01\0", 'x') {
        $relay = between($server->{port}, sub { $_[0] eq 'client' && !$_[1] ? "$_[2]$extra" : $_[2] });
        ok(!client_to($relay->{port}), length($extra) . ' bytes behind the answer: not connected');
        $relay->kill;
    }
}

# A byte of each record flipped, a record dropped, repeated, and the connection cut before it.
{
    my %attack = (
        flipped  => sub { my $u = shift; substr($u, -1) ^= "\1"; $u },
        dropped  => sub { '' },
        repeated => sub { $_[0] x 2 },
        cut      => sub { undef },
    );
    foreach my $name (sort keys %attack) {
        foreach my $case ([ server => 1, 2, 3 ], [ client => 1, 2, 3 ]) {
            my ($whose, @numbers) = @$case;
            foreach my $number (@numbers) {
                my $relay = between($secret->{port}, sub {
                    my ($who, $count, $unit) = @_;
                    return $who eq $whose && $count == $number ? $attack{$name}->($unit) : $unit;
                });
                my $client = client_to($relay->{port}, password => 'sesame', negotiationtimeout => 1);
                my $got;
                if ($client) {
                    $client->send('hello');
                    $got = $client->receive(1);
                }
                # A change_cipher_spec of the handshake, which is without effect, may be changed.
                ok(!defined $got || $got eq 'hello', "$whose, record $number $name: no wrong message");
                $relay->kill;
            }
        }
    }
}

# The end cut off.
{
    my $relay = between($server->{port}, sub { $_[2] });
    my $client = client_to($relay->{port});
    talks($client, 'before the cut');
    $relay->kill;
    is($client->receive(60), undef, 'cut off');
    like($@, qr/The connection was cut off$/, 'text');
}

talks(client_to($server->{port}), 'after all of that the server');
talks(client_to($secret->{port}, password => 'sesame'), 'and the other one');
$_->kill foreach $server, $secret;

done_testing();
