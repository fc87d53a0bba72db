# What either end may demand: a cipher, certain ciphers, a password. Between two peers of this release,
# and of an old client.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

sub agrees {
    my ($name, $server, $cipher, %o) = @_;
    my $client = client_to($server, %o);
    ok($client, "$name: connects") or return diag $@;
    is($client->encryption, $cipher, "$name: the cipher");
    $client->send($name) or diag $@;
    is($client->receive, $name, "$name: talks");
    $client->close;
    return;
}

# Refused by the client itself, with a text; by the server, by closing.
sub refuses {
    my ($name, $server, $text, %o) = @_;
    $@ = '';
    my $client = client_to($server, %o);
    ok(!defined $client, "$name: undef");
    like($@, qr/^Error negotiating with server: .*$text/, "$name: text");
    return;
}

# What is agreed on where nothing is said.
my $BEST = tls_usable() ? 'TLS' : 'Crypt::Rijndael';

my $NONE   = 'Encryption is required, but none could be agreed on$';
my $CLOSED = 'Socket closed when attempted reading$';

{
    my $server = spawn_server(requireencryption => [qw(Crypt::Blowfish Crypt::Twofish)]);
    agrees('of two the better one', $server, 'Crypt::Twofish');
    agrees('the other one', $server, 'Crypt::Blowfish', donotencryptwith => 'Crypt::Twofish');
    agrees('both ends have a list', $server, 'Crypt::Blowfish',
        requireencryption => [qw(Crypt::Rijndael Crypt::Blowfish)]);
    refuses('no cipher', $server, $CLOSED, donotencrypt => 1);
    refuses('neither', $server, $CLOSED, donotencryptwith => [qw(Crypt::Blowfish Crypt::Twofish)]);
    refuses('lists without a common name', $server, $NONE, requireencryption => ['Crypt::Rijndael']);
    SKIP: {
        my %usable = map { $_ => 1 } OldPeer->usable_ciphers;
        skip 'no cipher modules to be the old client with', 3 unless $usable{4} && $usable{A};
        my $old = OldPeer->client(port => $server->{port}, ciphers => [qw(4 A)]);
        is($old && $old->encryption, 'Crypt::Blowfish', 'an old client uses what is in the list');
        $old->send('old') if $old;
        is($old && $old->receive, 'old', 'and talks');
        $old = OldPeer->client(port => $server->{port}, ciphers => ['A']);
        ok(!$old, 'an old client without any of them is refused');
    }
    $server->kill;
}
{
    my $server = spawn_server();
    agrees('anything will do', $server, $BEST, requireencryption => 1);
    agrees('anything but TLS', $server, 'Crypt::Rijndael', requireencryption => 1, donotencryptwith => 'TLS');
    agrees('only one will do', $server, 'Crypt::DES', requireencryption => ['Crypt::DES']);
    agrees('one by its name', $server, 'Crypt::DES', requireencryption => 'Crypt::DES');
    agrees('a false value demands nothing', $server, undef, requireencryption => $_, donotencrypt => 1)
        foreach 0, '';
    foreach my $case ([ 'an unknown name' => 'Crypt::Nothing' ],
        [ 'an unknown name in a list' => [qw(Crypt::TEA Crypt::Nothing)], 'Crypt::Nothing' ],
        [ 'another letter case' => ['Crypt::Tea'], 'Crypt::Tea' ], [ 'a compressor' => 'Compress::Zlib' ],
        [ 'a word' => 'yes' ],
        [ 'a hash' => { 'Crypt::TEA' => 1 }, 'HASH(0x' ],
        [ 'a reference to a name' => \'Crypt::TEA', 'SCALAR(0x' ],
        [ 'code' => sub { 1 }, 'CODE(0x' ]) {
        my ($name, $value, $text) = @$case;
        is(client_to($server, requireencryption => $value), undef, "$name is not understood");
        like($@, qr/^Invalid requireencryption '\Q@{[ defined $text ? $text : $value ]}\E.*': must be 1 /,
            'and $@ says so');
        is(Net::EasyTCP->new(mode => 'server', port => '00', requireencryption => $value), undef,
            "$name: servers alike");
    }
    refuses('an empty list',           $server, $NONE, requireencryption => []);
    refuses('demanded and forbidden',  $server, $NONE, requireencryption => ['Crypt::DES'],
        donotencryptwith => 'Crypt::DES');
    refuses('demanded and switched off', $server, $NONE, requireencryption => 1, donotencrypt => 1);
    refuses('no password asked', $server, 'A password is required, but the server asked for none$',
        requirepassword => 1, password => 'sesame');
    $server->kill;
}
{
    my $server = spawn_server(password => 'sesame');
    agrees('a password asked', $server, $BEST, requirepassword => 1, password => 'sesame');
    agrees('a password asked, without TLS', $server, 'Crypt::Rijndael', requirepassword => 1,
        password => 'sesame', donotencryptwith => 'TLS');
    refuses('another password', $server,
        $BEST eq 'TLS' ? 'The server does not know the password$' : 'Server rejected supplied password$',
        requirepassword => 1, password => 'simsim');
    refuses('another password, without TLS', $server, 'Server rejected supplied password$',
        requirepassword => 1, password => 'simsim', donotencryptwith => 'TLS');
    $server->kill;
}
SKIP: {
    skip 'TLS can be had', 2 if $BEST eq 'TLS';
    is(Net::EasyTCP->new(mode => 'server', port => '00', requireencryption => 'TLS'), undef,
        'TLS is demanded and cannot be had');
    is($@, 'OpenSSL offers no TLS 1.3', 'and $@ says so');
}

done_testing();
