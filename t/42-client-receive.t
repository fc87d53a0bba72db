# receive(): every message once, in order, at once, whatever the packets were cut into; what it says
# when nothing comes. The server is a scripted peer, so that each byte on the way is chosen.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

# Runs code($child, $peer) for each client; what the client does in between is said by tell/hear.
sub scene {
    my ($code, %o) = @_;
    my $child = spawn_peer(sub {
        my ($me, $peer) = @_;
        $code->($me, $peer);
        $me->report('END');
        $me->hear;
        $peer->close;
        POSIX::_exit(0);
    }, version => '0.26', lossy => 0, %o);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port});
    BAIL_OUT("cannot connect: $@") unless $client;
    return ($child, $client);
}

sub over {
    my ($child, $client) = @_;
    $child->tell('end');
    $child->wait;
    $client->close;
    return;
}

sub message { return packet(5, shift) }

{
    my ($child, $client) = scene(sub { $_[1]->raw_send(message('one') . message('two') . message('three')) });
    $child->line;
    is($client->receive, 'one', 'three messages in one write: the first');
    is($client->receive(100), 'two', 'the second needs no new bytes, with a timeout');
    is($client->receive, 'three', 'the third needs no new bytes, without one');
    $@ = '';
    is($client->receive(1), undef, 'then nothing');
    is($@, 'Timed out waiting to receive data', 'and the text says so');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub { $_[1]->raw_send(join '', map { message($_) } 1 .. 500) });
    my @got = map { $client->receive } 1 .. 500;
    is_deeply(\@got, [ 1 .. 500 ], '500 messages in one write arrive once, in order');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        $peer->raw_send(message('a') . message('') . message('0') . message('last'));
        $peer->close;
    });
    $child->line;
    my @got = map { $client->receive(30) } 1 .. 4;
    is_deeply(\@got, [ 'a', '', '0', 'last' ], 'what came before the server closed is handed out');
    $@ = '';
    is($client->receive(30), undef, 'then the end');
    is($@, 'Socket closed when attempted reading', 'and the text says so');
    is($client->receive, undef, 'the end stays, without a timeout');
    is($@, 'Socket closed when attempted reading', 'with the same text');
    $child->kill;
    is($client->close, 1, 'close() still works');
}
{
    my $text = join '', 'a' .. 'z';
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        foreach my $byte (split //, message($text) . message('next')) { $peer->raw_send($byte) }
    });
    is($client->receive, $text, 'one byte at a time');
    is($client->receive, 'next', 'and the next');
    over($child, $client);
}
foreach my $size (4090 .. 4094, 8187 .. 8190, 65530 .. 65537) {
    my ($child, $client) = scene(sub { $_[1]->raw_send(message('x' x $size)) });
    my $got = $client->receive;
    is(length $got, $size, "a message of $size bytes is not waited over");
    over($child, $client);
}
{
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        $peer->raw_send(substr message('halves'), 0, 5);
        $me->report('half');
        $me->hear;
        $peer->raw_send(substr(message('halves'), 5));
    });
    $child->line;
    is($client->receive(1), undef, 'half a message is no message');
    is($@, 'Timed out waiting to receive data', 'it is waited for');
    ok(!$client->pending, 'nor pending');
    $child->tell('go');
    is($client->receive, 'halves', 'the other half completes it');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        $peer->raw_send(packet(1, "NO\0later") . message('A') . packet(1, 'XX') . message('B'));
    });
    is($client->receive(60), 'A', 'an internal packet does not end receive()');
    is($client->receive(60), 'B', 'and takes no message with it');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub { $_[1]->raw_send(message('first')) });
    $! = POSIX::EINTR();
    is($client->receive, 'first', 'a stale $! does no harm');
    $! = POSIX::EBADF();
    is($client->receive(1), undef, 'another stale $!');
    is($@, 'Timed out waiting to receive data', 'does no harm either');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub { $_[1]->raw_send(message('a') . message('b') . message('c')) });
    $child->line;
    ok(!$client->pending, 'pending() does not read the socket');
    is($client->receive, 'a', 'after one read');
    ok($client->pending, 'pending() tells of the second');
    is($client->receive, 'b', 'the second');
    ok($client->pending, 'pending() tells of the third');
    is($client->receive, 'c', 'the third');
    ok(!$client->pending, 'pending() is false afterwards');
    $client->close;
    ok(!$client->pending, 'pending() is false after close()');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub { $_[1]->raw_send(message('0')) });
    is($client->receive(0), '0', 'receive(0) is receive()');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        $peer->raw_send(message('before'));
        $me->report('sent');
        $me->hear;
        $peer->reset_connection;
    });
    $child->line;
    is($client->receive, 'before', 'a message');
    $child->tell('reset');
    $child->line;
    $@ = '';
    is($client->receive, undef, 'then a reset');
    like($@, qr/^(?:Failed to read from socket: \S|Socket closed when attempted reading$)/, 'says so');
    $child->kill;
}
{
    my $big = join '', map { chr(($_ * 7) & 255) } 0 .. 299_999;
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        my $bytes = message($big) . message('tail');
        while (length $bytes) { $peer->raw_send(substr $bytes, 0, 1000 + length($bytes) % 977, '') }
    });
    ok($client->receive eq $big, 'a large message in odd pieces');
    is($client->receive, 'tail', 'and what follows it');
    over($child, $client);
}
{
    my ($child, $client) = scene(sub {
        my ($me, $peer) = @_;
        $peer->raw_send("\x05\x04\0\0\0\x04four" . "\xe5\x01\x03res" . "\x05\x03\0\0\x02ok"
            . "\x05\x02\0\0" . "\x05\0" . "\x05\x01\x01z");
    });
    is($client->receive, 'four', 'a length with leading zeros');
    is($client->receive, 'res', 'reserved bits are ignored');
    is($client->receive, 'ok', 'another length with leading zeros');
    is($client->receive, '', 'zero in two length bytes');
    is($client->receive, '', 'no length bytes');
    is($client->receive, 'z', 'still in step');
    over($child, $client);
}

# A deadline that has passed: what is here is taken, and nothing is waited for.
{
    my $peer = spawn_peer(sub {
        my ($me, $peer) = @_;
        $peer->receive;
        $peer->send("message $_") foreach 1 .. 3;
        $peer->receive;
    }, version => '0.19');
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $peer->{port}) or die $@;
    is($client->receive($_), undef, "receive($_) with nothing there") foreach -1, -0.001, -9**9**9;
    is($@, 'Timed out waiting to receive data', 'times out');
    $client->send('now');
    my @got = $client->receive(30);
    my $message;
    while (@got < 3) { push @got, $message if defined($message = $client->receive(-1)) }
    is_deeply(\@got, [ map { "message $_" } 1 .. 3 ], 'receive(-1) takes what is there');
    $client->close;
    is($client->receive(-1), undef, 'after close()');
    $peer->kill('TERM');
}
done_testing();
