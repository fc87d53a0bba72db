# Every cipher and compressor between two peers of this release: what both ends say was agreed on, and
# messages of every kind in both directions, with and without a password.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my @CIPHERS = map { "Crypt::$_" }
    qw(Rijndael Twofish2 RC6 Twofish Blowfish DES_EDE3 TEA CipherSaber DES);    # as chosen, best first
my @COMPRESSORS = qw(Compress::Zlib Compress::LZF);
my $MEGABYTE = substr binary_2mb(), 0, 1 << 20;

my @MESSAGES = (
    [ text      => 'hello' ],
    [ zero      => '0' ],
    [ empty     => '' ],
    [ spaces    => 'trailing spaces   ' ],
    [ nul       => "\0" ],
    [ block     => 'sixteen bytes.. ' ],
    [ bytes     => join '', map { chr } 0 .. 255 ],
    [ megabyte  => $MEGABYTE ],
    [ hash      => { list => [ 1, -2, '0', '', undef ], deep => { er => \'scalar' } } ],
    [ 'no list' => [] ],
    [ large     => { map { $_ => [ 1 .. 50 ] } 1 .. 500 } ],
    [ object    => bless({ name => 'kept' }, 'Some::Class') ],
);

# The server says what it agreed to when asked; everything else comes back.
sub start_server {
    return spawn_server(@_, callbacks => {
        data => sub {
            my $client = shift;
            my $data = $client->data;
            $data = join ' ', map { defined $_ ? $_ : '-' } $client->encryption, $client->compression
                if !ref $data && $data eq 'WHAT';
            $client->send($data) or $EasyTCPTest::Me->report("SEND FAILED $@");
        },
    });
}

# TLS would be taken before any of the ciphers.
sub without_tls {
    my %options = @_;
    my $without = $options{donotencryptwith};
    $options{donotencryptwith} = [ 'TLS', ref $without ? @$without : defined $without ? $without : () ];
    return %options;
}

sub connect_to {
    my $server = shift;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port},
        without_tls(@_));
    diag $@ unless $client;
    return $client;
}

sub without {
    my ($wanted, @all) = @_;
    return [ grep { $_ ne $wanted } @all ];
}

sub echoes {
    my ($client, $name, @messages) = @_;
    foreach my $message (@messages) {
        my ($kind, $value) = @$message;
        $client->send($value) or return fail("$name: $kind is sent: $@");
        my $back = $client->receive(60);
        if (ref $value) {
            is_deeply($back, $value, "$name: $kind");
        }
        else {
            ok(defined $back && $back eq $value, "$name: $kind");
        }
    }
    return;
}

sub try {
    my ($server, $name, $facts, @options) = @_;
    my $client = connect_to($server, @options);
    ok($client, "$name: connects") or return;
    is(join(' ', map { defined $_ ? $_ : '-' } $client->encryption, $client->compression), $facts,
        "$name: what the client says");
    $client->send('WHAT');
    is($client->receive(60), $facts, "$name: what the server says");
    echoes($client, $name, @MESSAGES);
    $client->send($_->[1]) for @MESSAGES[ 0 .. 5 ];    # all on their way at once
    is_deeply([ map { $client->receive(60) } 0 .. 5 ], [ map { $_->[1] } @MESSAGES[ 0 .. 5 ] ],
        "$name: six at once");
    $client->close;
    return;
}

# The client forbids all but one cipher, then the server does.
foreach my $password (undef, 'open sesame!') {
    my @password = defined $password ? (password => $password) : ();
    my $with = @password ? ' and a password' : '';
    my $server = start_server(@password, compress => 'always');
    foreach my $cipher (@CIPHERS) {
        try($server, "$cipher$with", "$cipher -", @password, donotcompress => 1,
            donotencryptwith => without($cipher, @CIPHERS));
        try($server, "$cipher, Zlib$with", "$cipher Compress::Zlib", @password, compress => 'always',
            donotencryptwith => without($cipher, @CIPHERS));
    }
    foreach my $compressor (@COMPRESSORS) {
        try($server, "$compressor$with", "- $compressor", @password, donotencrypt => 1, compress => 'always',
            donotcompresswith => without($compressor, @COMPRESSORS));
    }
    $server->kill;
}
foreach my $cipher (@CIPHERS) {
    my $server = start_server(donotencryptwith => without($cipher, @CIPHERS));
    my $client = connect_to($server, requireencryption => 1);
    is($client && $client->encryption, $cipher, "$cipher, the server's choice");
    echoes($client, "$cipher, the server's choice", @MESSAGES[ 0 .. 6 ]);
    $client->close;
    $server->kill;
}

# What is chosen while one after the other is forbidden, and what when all are.
{
    my $server = start_server();
    my @chosen;
    foreach my $forbidden (0 .. @CIPHERS) {
        my $client = connect_to($server,
            $forbidden ? (donotencryptwith => [ @CIPHERS[ 0 .. $forbidden - 1 ] ]) : ());
        push @chosen, $client->encryption;
        echoes($client, "without the best $forbidden", $MESSAGES[0]);
        $client->close;
    }
    is_deeply(\@chosen, [ @CIPHERS, undef ], 'the order, which ends before Crypt::RSA');
    my $client = connect_to($server, donotencryptwith => 'Crypt::Rijndael',
        donotcompresswith => 'Compress::Zlib');
    is($client->encryption, 'Crypt::Twofish2', 'a forbidden cipher is not used');
    is($client->compression, 'Compress::LZF', 'a name alone forbids that compressor');
    ok(!connect_to_strictly($server, donotencryptwith => \@CIPHERS), 'no cipher left, but one required');
    $server->kill;
}

sub connect_to_strictly {
    my $server = shift;
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port},
        requireencryption => 1, without_tls(@_));
}

# The password is part of the key: what it does not contain does not matter, what it contains does.
{
    my $server = start_server(password => '!!!');
    my $client = connect_to($server, password => '!!!');
    echoes($client, 'a password without letters and digits', @MESSAGES);
    $server->kill;
    my $long = 'a1' x 100;
    $server = start_server(password => $long);
    foreach my $cipher (@CIPHERS) {
        $client = connect_to($server, password => $long, donotencryptwith => without($cipher, @CIPHERS));
        is($client->encryption, $cipher, "$cipher, a password longer than the key: agreed");
        echoes($client, "$cipher, a password longer than the key", @MESSAGES[ 0 .. 3 ]);
    }
    $server->kill;
}

done_testing();
