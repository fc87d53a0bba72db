# Many messages at once, in both directions: each arrives once, in order, on every kind of link.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my %link = (
    plain      => [ donotencrypt => 1, donotcompress => 1 ],
    compressed => [ donotencrypt => 1 ],
    encrypted  => [ donotcompress => 1 ],
    both       => [],
);

foreach my $name (sort keys %link) {
    foreach my $coalesce (1, 0) {
        my $case = "$name, coalesce $coalesce";
        my $server = spawn_server(@{ $link{$name} }, coalesce => $coalesce, callbacks => { data => sub {
            my $client = shift;
            my $data = $client->data;
            if (ref $data) {
                $client->send("$data->{text} $_") foreach 1 .. $data->{count};
                return;
            }
            $client->send($data);
        } });
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
            or BAIL_OUT("cannot connect: $@");
        my @mixed = map { $_ % 7 == 0 ? '' : $_ % 5 == 0 ? '0' : "message $_" } 1 .. 500;
        my $sent = grep { $client->send($_) } @mixed;
        is($sent, 500, "$case: 500 messages sent without a pause");
        is_deeply([ map { $client->receive } @mixed ], \@mixed, "$case: 500 answers in order");
        $client->send({ text => 'burst', count => 5000 });
        my $wrong = 0;
        foreach my $n (1 .. 5000) {
            my $got = $client->receive;
            $wrong++ if !defined $got || $got ne "burst $n";
        }
        is($wrong, 0, "$case: 5000 messages out of one callback");
        $client->close;
        $server->kill('TERM');
    }
}

# In one write, over raw bytes, and cut at every place a read may end.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @got;
    $server->setcallback(data => sub { push @got, scalar $_[0]->data });
    my $peer = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server))
        or die OldPeer->error;
    $peer->raw_send(join '', map { packet(5, "m$_") } 1 .. 500);
    run_until($server, sub { @got >= 500 });
    is_deeply(\@got, [ map { "m$_" } 1 .. 500 ], '500 messages in one write');

    my $bytes = packet(5, 'first') . packet(5, '') . packet(5, '0') . packet(5, 'x' x 300)
        . packet(5, 'last');
    my $wrong = 0;
    foreach my $cut (0 .. length $bytes) {
        @got = ();
        $peer->raw_send(substr $bytes, 0, $cut);
        $server->do_one_loop;
        $server->do_one_loop;
        $peer->raw_send(substr $bytes, $cut);
        run_until($server, sub { @got >= 5 });
        $wrong++ if "@got" ne join ' ', 'first', '', '0', 'x' x 300, 'last';
    }
    is($wrong, 0, 'five messages cut at every boundary');

    @got = ();
    foreach my $byte (split //, $bytes) {
        $peer->raw_send($byte);
        $server->do_one_loop;
    }
    run_until($server, sub { @got >= 5 });
    is("@got", join(' ', 'first', '', '0', 'x' x 300, 'last'), 'five messages byte by byte');

    # Sizes around every size of read.
    @got = ();
    my @sizes = (0, 1, 4089 .. 4100, 8180 .. 8200, 16370 .. 16390, 32760 .. 32775, 65525 .. 65545);
    my $child = spawn(sub { $peer->raw_send(packet(5, 'x' x $_)) foreach @sizes; $_[0]->hear });
    run_until($server, sub { @got >= @sizes });
    is_deeply([ map { length } @got ], \@sizes, 'sizes around the edges of reads');
    $child->kill;
}

# Internal packets in between are dropped and take nothing with them.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @got;
    $server->setcallback(data => sub { push @got, scalar $_[0]->data });
    my $peer = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server))
        or die OldPeer->error;
    $peer->raw_send(packet(1, 'NO') . packet(5, 'A') . packet(1, "NO\0x") . packet(5, 'B') . packet(1, ''));
    run_until($server, sub { @got >= 2 });
    $server->do_one_loop foreach 1 .. 3;
    is_deeply(\@got, [qw(A B)], 'internal packets between messages');
}

done_testing();
