# One client that does not read must not delay the others. Counted, not timed: the others finish all
# their exchanges while the slow one has read nothing; a server that waited would never get there.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my $MEGABYTE = 'x' x (1 << 20);

sub flood {
    my $client = shift;
    my $data = $client->data;
    return unless defined $data;
    if ($data =~ /^flood (\d+)/) {
        my $failed = 0;
        $client->send(sprintf('%08d', $_) . $MEGABYTE) or $failed++ foreach 1 .. $1;
        $EasyTCPTest::Me->report("flooded $failed");
        return;
    }
    $client->send($data);
    return;
}

{
    my $server = spawn_server(donotencrypt => 1, donotcompress => 1, callbacks => { data => \&flood });
    my @slow = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    } 1, 2;
    my @quick = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    } 1 .. 3;
    $slow[0]->send('flood 50');
    is($server->line, 'flooded 0', '50 MB are accepted for a client that reads nothing');
    my $answers = 0;
    foreach my $round (1 .. 100) {
        foreach my $client (@quick) {
            $client->send("round $round");
            my $back = $client->receive;
            $answers++ if defined $back && $back eq "round $round";
        }
    }
    is($answers, 300, 'the others talk meanwhile');
    my $new = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port});
    ok($new, 'new clients connect meanwhile');
    my $wrong = 0;
    foreach my $n (1 .. 50) {
        my $got = $slow[0]->receive;
        $wrong++ if !defined $got || length $got != 8 + length $MEGABYTE || substr($got, 0, 8) != $n;
    }
    is($wrong, 0, 'then the slow one gets all of it, in order');

    # One that never reads and goes away.
    $slow[1]->send('flood 20');
    is($server->line, 'flooded 0', '20 MB for another');
    $slow[1]->close;
    $quick[0]->send('alive');
    is($quick[0]->receive, 'alive', 'it leaves without reading; the server lives');
    $server->kill('TERM');
}

# Past the high-water mark send() waits for that client, at most sendtimeout, then gives it up.
{
    my $server = spawn_server(donotencrypt => 1, donotcompress => 1, highwater => 1 << 20, sendtimeout => 1,
        callbacks => { data => \&flood, disconnect => sub { $EasyTCPTest::Me->report('gone') } });
    my $slow = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    my $quick = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    $slow->send('flood 40');
    like($server->line, qr/^flooded ([1-9]\d*)$/, 'a client over its mark for too long: send() fails');
    $quick->send('alive');
    is($quick->receive, 'alive', 'the others live');
    $server->kill('TERM');
}

# Past the mark, but reading: nothing is lost.
{
    my $server = spawn_server(donotencrypt => 1, donotcompress => 1, highwater => 1 << 20,
        callbacks => { data => \&flood });
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    $client->send('flood 20');
    my $wrong = 0;
    foreach my $n (1 .. 20) {
        my $got = $client->receive;
        $wrong++ if !defined $got || substr($got, 0, 8) != $n;
    }
    is($wrong, 0, 'a reader behind the mark gets everything');
    is($server->line, 'flooded 0', 'every send() succeeded');
    $server->kill('TERM');
}

# A client killed in the middle of a packet, theirs and ours.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my (@got, $gone);
    $server->setcallback(data => sub { push @got, scalar $_[0]->data }, disconnect => sub { $gone++ });
    my $idle = loop_of($server);
    my $other = OldPeer->client(version => '0.19', port => $port, idle => $idle);
    my $peer = OldPeer->client(version => '0.19', port => $port, idle => $idle);
    $peer->raw_send(packet(5, 'whole') . substr packet(5, 'half of it'), 0, 6);
    run_until($server, sub { @got });
    $peer->reset_connection;
    run_until($server, sub { $gone });
    is_deeply(\@got, ['whole'], 'the whole message of a killed client, not the half one');
    is($gone, 1, 'and one disconnect');
    $other->send('alive');
    run_until($server, sub { @got == 2 });
    is($got[1], 'alive', 'the others live');
}

done_testing();
