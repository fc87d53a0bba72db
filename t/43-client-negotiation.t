# How new() fails and what it says when the server does not play along.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my $FAIL = 'Error negotiating with server: ';

# Connects to a scripted server. edit => code(\@queue) changes its commands.
sub meet {
    my (%o) = @_;
    my $client_options = delete $o{client} || {};
    my $child = spawn_peer(sub {
        my ($me, $peer) = @_;
        $me->report('READY ' . join ' ', map { defined $_ ? $_ : '-' } $peer->encryption, $peer->compression);
        while (defined(my $message = $peer->receive)) { $peer->send($message) }
        $me->report('CLOSED');
    }, version => '0.26', on_queue => delete $o{edit}, %o);
    $@ = '';
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port},
        %$client_options);
    my $error = $@;
    return ($client, $error, $child);
}

sub fails {
    my ($name, $text, %o) = @_;
    my ($client, $error, $child) = meet(%o);
    ok(!defined $client, "$name: undef");
    ref $text ? like($error, $text, "$name: text") : is($error, $text, "$name: text");
    like($child->line, qr/^(?:FAILED|CLOSED)/, "$name: the connection is closed");
    $child->kill;
    return;
}

sub connects {
    my ($name, %o) = @_;
    my ($client, $error, $child) = meet(%o);
    ok($client, "$name: connects") or diag $error;
    if ($client) {
        $client->send("$name.");
        is($client->receive, "$name.", "$name: talks");
        $client->close;
    }
    $child->kill;
    return;
}

sub insert_before_end {
    my @command = @_;
    return sub { splice @{ $_[0] }, -1, 0, [@command] };
}

connects('nothing special');
fails('PF', "${FAIL}Server rejected supplied password: none was supplied", edit => insert_before_end('PF'));
fails('COF', "${FAIL}Compatability failure: The client and server could not negotiate compatability"
    . ' regarding: phase of the moon', edit => insert_before_end('COF', 'phase of the moon'));
fails('an empty command', "${FAIL}Error negotiating with server. No command received.",
    edit => insert_before_end(''));
fails('a command of nothing but separators', "${FAIL}Error negotiating with server. No command received.",
    edit => insert_before_end('', ''));
fails('command 0', "${FAIL}Error negotiating with server. No command received.",
    edit => insert_before_end('0'));
my $TIMEOUT = "${FAIL}Client timed out while negotiating with server";
# The server has read the answer to VE before it goes: closing with unread input would be a reset.
fails('the server closes', qr{^\Q$TIMEOUT\E \[\d+/90\] : Socket closed when attempted reading$},
    on_packet => sub { $_[1] eq 'VE' and $_[0]->close, die "closed\n" });
fails('the server resets', qr{^\Q$TIMEOUT\E \[\d+/90\] : Failed to read from socket: \S},
    on_packet => sub { $_[1] eq 'VE' and $_[0]->reset_connection, die "reset\n" });

# Advice of the server about differing versions is no reason to give up any more.
foreach my $tag (qw(SVF EVF CVF)) {
    connects("$tag is only advice", edit => insert_before_end($tag, '0.0'));
}
connects('unknown commands', edit => insert_before_end('WHAT', 'ever'));
connects('binary commands', edit => insert_before_end("\1\2\xff", "\x80"));
connects('a long welcome', edit => sub { $_[0][0] = [ 'W' x 4000 ] });
connects('no welcome', edit => sub { shift @{ $_[0] } });
connects('only VE and EN', edit => sub { @{ $_[0] } = ([ 'VE', '0.26' ], ['EN']) });
connects('only EN', edit => sub { @{ $_[0] } = (['EN']) });
connects('a later version', edit => sub { @{ $_[0] } = ([ 'VE', '0.30', 'EXT', 'more' ], ['EN']) });
connects('a command called RETURN1', edit => insert_before_end('CU', 'RETURN1'));
connects('commands in another order', version => '0.14',
    edit => sub { @{ $_[0] } = (grep({ $_->[0] ne 'EN' } reverse @{ $_[0] }), ['EN']) });
connects('one byte at a time', chunk => 1, version => '0.14');
connects('from one byte on', chunk => 7);

# A real-data packet during negotiation is taken for a command, as ever.
{
    my ($client, $error, $child) = meet(edit => sub {
        @{ $_[0] } = ([ 'VE', '0.26' ], ['EN']);
    }, before_reply => sub {
        my ($peer, $tag) = @_;
        $peer->raw_send('') if $tag eq 'VE';
    });
    ok($client, 'a server of few words') or diag $error;
    $child->kill;
}

SKIP: {
    skip 'no traditional crypt() here', 9 unless OldPeer->has_crypt;
    connects('the right password', password => 'sesame', client => { password => 'sesame' });
    fails('a wrong password', "${FAIL}Server rejected supplied password",
        password => 'sesame', client => { password => 'simsim' });
    fails('no password', "${FAIL}Server rejected supplied password: none was supplied", password => 'sesame');
}

# Options that demand more than this server gives.
fails('requireencryption without a cipher', qr/^\Q$FAIL\E.*encrypt/i, client => { requireencryption => 1 });
fails('requirepassword without a password', qr/^\Q$FAIL\E.*password/i,
    client => { requirepassword => 1, password => 'sesame' });
SKIP: {
    skip 'no cipher module to be the peer with', 4 unless grep { $_ eq '4' } OldPeer->usable_ciphers;
    connects('requireencryption with a cipher', ciphers => ['4'], client => { requireencryption => 1 });
    connects('REQUIREENCRYPTION in capitals', ciphers => ['4'], client => { REQUIREENCRYPTION => 1 });
}

# A server that says nothing is left after the negotiation timeout.
{
    my $child = spawn_peer(sub {
        my ($me, $peer) = @_;
        has_closed($peer->socket);
        $me->report('CLOSED');
    }, no_negotiation => 1);
    $@ = '';
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port},
        negotiationtimeout => 1);
    ok(!defined $client, 'a silent server: undef');
    like($@, qr{^\Q$FAIL\EClient timed out while negotiating with server \[\d+/1\] : }, 'and the text');
    is($child->line, 'CLOSED', 'and the connection is closed');
    $child->kill;
}

# Salts that would make crypt() do other than it should are refused, not computed.
SKIP: {
    skip 'no traditional crypt() here', 3 unless OldPeer->has_crypt;
    fails('a costly salt', qr/^\Q$FAIL\E/, password => 'sesame',
        fixed_salt => '$6$rounds=900000000$abcdefgh$', client => { password => 'sesame' });
}

done_testing();
