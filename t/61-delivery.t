# What was sent arrives: before close, stop, exit, die, the end of the script; from servers and clients.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my $COUNT = 40;
my $TEXT = 'd' x 100_000;    # four megabytes in all: more than any socket buffer takes

sub send_all {
    my $to = shift;
    $to->send(sprintf('%04d', $_) . $TEXT) or return "send: $@" foreach 1 .. $COUNT;
    return 'sent';
}

# Counts what is right, then expects the end.
sub count_all {
    my $from = shift;
    my $right = 0;
    foreach my $n (1 .. $COUNT) {
        my $got = $from->receive;
        last unless defined $got;
        $right++ if length $got == 4 + length $TEXT && substr($got, 0, 4) == $n;
    }
    return $right;
}

my %ending = (
    'close()'           => sub { $_[1]->close },
    'disconnect()'      => sub { $_[1]->disconnect },
    'close() and exit'  => sub { $_[1]->close; exit 0 },
    'exit'              => sub { exit 0 },
    'dropping the object' => sub { $_[1] = undef; $_[0]{drop}->() },
    'die'               => sub { close STDERR; eval { die "x\n" }; exit 1 },
);

# A server sends to a client that is slow to begin reading, then ends.
foreach my $how (sort keys %ending, 'stop()') {
    foreach my $link ([ donotencrypt => 1, donotcompress => 1 ], []) {
        my $name = "server, $how, " . (@$link ? 'plain' : 'with every module');
        my $child = spawn(sub {
            my $me = shift;
            my ($server, $port) = new_server(@$link);
            my %state = (drop => sub { undef $server });
            $server->setcallback(data => sub {
                my $client = shift;
                $client->data;
                $me->report(send_all($client));
                if ($how eq 'stop()') { $server->stop; return }
                $ending{$how}->(\%state, $client);
            });
            $me->report("PORT $port");
            if ($how eq 'stop()') {
                $server->start;
                exit 0;
            }
            while ($server) { $server->do_one_loop }
        }, normal_exit => 1);
        my ($port) = $child->line =~ /^PORT (\d+)/ or BAIL_OUT('no server');
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or BAIL_OUT($@);
        $client->send('go');
        is($child->line, 'sent', "$name: all sent before the client reads");
        is(count_all($client), $COUNT, "$name: all of it arrives");
        if ($how !~ /^disc|^close\(\)$/) {
            ok(!defined $client->receive, "$name: then the end");
            is($@, 'Socket closed when attempted reading', "$name: a clean one");
        }
        $client->close;
        $child->kill('KILL');
    }
}

# A client sends to a server, then ends.
foreach my $how (sort keys %ending) {
    my ($server, $port) = new_server();
    my ($right, $gone) = (0, 0);
    $server->setcallback(
        data => sub {
            my $got = $_[0]->data;
            $right++ if length $got == 4 + length $TEXT && substr($got, 0, 4) == $right + 1;
        },
        disconnect => sub { $gone++ },
    );
    my $child = spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        my $sent = send_all($client);
        $ending{$how}->({ drop => sub { } }, $client);
        $me->report($sent);
        $me->hear;
    }, normal_exit => 1);
    run_until($server, sub { $gone });
    is($right, $COUNT, "client, $how: all of it arrives");
    is($gone, 1, "client, $how: then one disconnect");
    $child->kill;
}

# Both directions full at once: a client that sends much while the server sends much back.
{
    my $server = spawn_server();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    my $big = 'b' x 3_000_000;
    ok($client->send($big), "message $_ of 3 MB, none read yet") foreach 1 .. 5;
    my $right = 0;
    foreach (1 .. 5) {
        my $got = $client->receive;
        $right++ if defined $got && $got eq $big;
    }
    is($right, 5, 'all echoes come');
    $server->kill('TERM');
}

# A server that does not loop any more: what its callbacks sent has left.
foreach my $case ([ 'a message', 1 ], [ 'a burst of ten', 10 ]) {
    my ($name, $count) = @$case;
    my $child = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
        my $answered = 0;
        $server->setcallback(data => sub { $_[0]->send('re ' . $_[0]->data); $answered++ });
        $me->report("PORT $port");
        $server->do_one_loop until $answered == $count;
        $me->hear;
    });
    my ($port) = $child->line =~ /^PORT (\d+)/;
    my $peer = OldPeer->client(version => '0.19', port => $port) or die OldPeer->error;
    $peer->raw_send(join '', map { packet(5, "q$_") } 1 .. $count);
    is($peer->receive, "re q$_", "answer $_ to $name leaves without another loop") foreach 1 .. $count;
    $child->kill;
}

# The same for what is sent outside callbacks.
{
    my $child = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
        $me->report("PORT $port");
        $server->do_one_loop until $server->clients;
        my ($client) = $server->clients;
        $client->send("number $_") foreach 1 .. 3;
        $me->hear;
    });
    my ($port) = $child->line =~ /^PORT (\d+)/;
    my $peer = OldPeer->client(version => '0.19', port => $port) or die OldPeer->error;
    is($peer->receive, "number $_", "message $_ sent outside the loop leaves at once") foreach 1 .. 3;
    $child->kill;
}

# A callback that waits for the effect of what it sent, in the middle of a burst.
foreach my $coalesce (0, 1) {
    my $child = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1, coalesce => $coalesce);
        my $seen = 0;
        $server->setcallback(data => sub {
            my $client = shift;
            $client->send('re ' . $client->data);
            $me->hear if ++$seen == 3;
        });
        $me->report("PORT $port");
        $server->do_one_loop while 1;
    });
    my ($port) = $child->line =~ /^PORT (\d+)/;
    my $peer = OldPeer->client(version => '0.19', port => $port) or die OldPeer->error;
    $peer->raw_send(join '', map { packet(5, "q$_") } 1 .. 5);
    if ($coalesce) {
        # With it answers may wait until the callback has returned: that is what the option is for.
        $child->tell('go on');
        is($peer->receive, "re q$_", "coalesce 1: answer $_") foreach 1 .. 5;
    }
    else {
        is($peer->receive, "re q$_", "coalesce 0: answer $_ while the callback waits") foreach 1 .. 3;
        $child->tell('go on');
        is($peer->receive, "re q$_", "coalesce 0: answer $_ afterwards") foreach 4, 5;
    }
    $child->kill;
}

done_testing();
