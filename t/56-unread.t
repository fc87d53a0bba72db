# Clients that do not read what they are sent: it is the same over TLS as without.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Select;
use Socket qw(SOL_SOCKET SO_SNDBUF);
use Net::EasyTCP;

my $CLIENTS = 20;
my $MARK    = 300_000;

my @ways = ([ plain => donotencrypt => 1 ]);
push @ways, [ 'TLS' ], [ 'direct TLS' => tls => 'direct' ] if tls_usable();

# Clients in a child, which speak and then read when they are told to, and tell how many messages came.
sub unread {
    my ($port, $number, @options) = @_;
    return spawn(sub {
        my $me = shift;
        my @clients = map { client_to($port, @options) or die $@ } 1 .. $number;
        $me->report('connected');
        $me->hear;
        $_->send('speaks') or die $@ foreach @clients;
        $me->report('spoken');
        $me->hear;
        my $came = 0;
        foreach my $client (@clients) {
            while (defined(my $message = $client->receive)) {
                last if $message eq 'end';
                $came++;
            }
        }
        $me->report($came);
        $me->hear;
    });
}

sub told {
    my ($server, $child) = @_;
    my $line;
    run_until($server, sub { defined($line = $child->poll) || $child->{gone} });
    return $line;
}

# ---- how much is kept ----------------------------------------------------------------------------

# Memory that one server has freed the next one uses again: TLS first.
foreach my $way (reverse @ways) {
    my ($name, @options) = @$way;
    push @options, donotcompress => 1;
    my ($server, $port) = new_server(@options, highwater => $MARK, whenfull => 'fail');
    my (@clients, $filled, $drained);
    $server->setcallback(
        connect => sub {
            push @clients, $_[0];
            setsockopt $_[0]->socket, SOL_SOCKET, SO_SNDBUF, pack 'l', 16_384;
        },
        # A busy system takes late what it has room for: queues may empty while they are filled.
        drain => sub { $drained++, $_[0]->send('end') if $filled },
    ) or die $@;
    my $child = unread($port, $CLIENTS, @options);
    told($server, $child);
    run_until($server, sub { @clients == $CLIENTS });

    my ($sent, $before) = (0, rss_kb());
    while ((my $count = $server->broadcast('x' x 1000)) > 0) {
        $sent += $count;
        $server->do_one_loop(0);
    }
    $filled = 1;
    my $stats = $server->stats;
    cmp_ok($stats->{queued_most}, '<', $MARK + 1100, "$name: no more than the mark is queued for anybody");
    cmp_ok($stats->{queued}, '>', $MARK * $CLIENTS, "$name: for everybody a little more");
    SKIP: {
        my $grown = $before && !$ENV{EASYTCP_TEST_EMULATED} && rss_kb() - $before;
        skip 'memory is not told here', 1 if !$grown || sanitized();
        cmp_ok($grown, '<', 1.5 * $MARK * $CLIENTS / 1024, "$name: which is what it takes: $grown KiB");
    }
    $child->tell('speak');
    told($server, $child);
    $server->process for 1 .. 20;
    is($server->stats->{messages_in}, 0, "$name: who does not read is not read");
    ok(!IO::Select->new($server->pollhandle)->can_read(0), "$name: meanwhile there is nothing to do");
    is($drained, undef, "$name: nothing has left yet");

    $child->tell('read');
    is(told($server, $child), $sent, "$name: all of it arrives");
    is($drained, $CLIENTS, "$name: that it has left is told once for each");
    is($server->stats->{messages_in}, $CLIENTS, "$name: and what they have sent is read");
    $child->tell('go');
}

# AddressSanitizer keeps what was freed.
sub sanitized {
    open my $maps, '<', '/proc/self/maps' or return 1;
    return scalar grep { /lib[at]san/ } <$maps>;
}

# ---- who reads is not taken for one of them ------------------------------------------------------

# Replies to messages that came together are gathered, and count until they leave.
foreach my $way (@ways) {
    my ($name, @options) = @$way;
    push @options, donotcompress => 1;
    my ($server, $port) = new_server(@options, highwater => 20_000);
    my $refused = 0;
    my $client;
    $server->setcallback(
        connect => sub { $client = $_[0] },
        data    => sub {
            $_[0]->data;
            foreach (1 .. 4) { $server->broadcast('y' x 9000) > 0 or $refused++ }
        },
    ) or die $@;
    my $child = spawn(sub {
        my $me = shift;
        my $asking = client_to($port, @options) or die $@;
        $asking->send('ask') foreach 1 .. 20;
        $me->report('asked');
        my $came = 0;
        while (defined(my $message = $asking->receive)) {
            last if $message eq 'end';
            $came++;
        }
        $me->report($came);
        $me->hear;
    });
    told($server, $child);
    run_until($server, sub { $server->stats->{messages_in} == 20 });
    $client->send('end');
    is(told($server, $child), 80, "$name: broadcasts in callbacks reach who reads");
    is($refused, 0, "$name: each of them");
    $child->tell('go');
}

foreach my $way (@ways) {
    my ($name, @options) = @$way;
    push @options, donotcompress => 1;
    my $count = 0;
    my $server = spawn_server(@options, callbacks => { data => sub {
        if ($_[0]->data eq 'begin') {
            $_[0]->send('ask') foreach 1 .. 20;
        }
        elsif (++$count == 80) {
            $EasyTCPTest::Me->report('all came');
        }
    }, disconnect => sub { $EasyTCPTest::Me->report("left after $count") } });
    my $client = client_to($server, @options, async => 1, highwater => 20_000, whenfull => 'close')
        or die $@;
    my ($refused, $line) = (0);
    $client->setcallback(
        connect => sub { $_[0]->send('begin') },
        data    => sub {
            $_[0]->data;
            foreach (1 .. 4) { $_[0]->send('y' x 9000) or $refused++ }
        },
    ) or die $@;
    run_until($client, sub { defined($line = $server->poll) });
    is($line, 'all came', "$name: what a client with async answers reaches a server that reads");
    is($refused, 0, "$name: each of it is taken");
    undef $client;
    $server->kill;
}

# ---- who ends one half only ----------------------------------------------------------------------

# It has shut down its sending side, which over TLS is no end in good order, and then reads.
foreach my $way (@ways) {
    my ($name, @options) = @$way;
    push @options, donotcompress => 1;
    my ($server, $port) = new_server(@options);
    my ($client, $why, $said);
    $server->setcallback(
        connect    => sub { $client = $_[0] },
        disconnect => sub { (undef, $why) = @_; $said = $_[0]->send('end') || $@ },
    ) or die $@;
    my $child = spawn(sub {
        my $me = shift;
        my $reading = client_to($port, @options) or die $@;
        $reading->send('x');
        $me->report('connected');
        $me->hear;
        shutdown $reading->socket, 1;
        $me->hear;
        my $came = 0;
        while (defined(my $message = $reading->receive)) { $came++ if $message eq 'end' || length $message > 9 }
        $me->report("$came: $@");
        $me->hear;
    });
    told($server, $child);
    run_until($server, sub { $client });
    $client->send('z' x 100_000) or die $@ foreach 1 .. 100;
    cmp_ok($client->queued, '>', 1_000_000, "$name: much is queued");
    $child->tell('shut down');
    run_until($server, sub { defined $why });
    is($why, $name eq 'plain' ? '' : 'The connection was cut off', "$name: the end is told");
    is($said, 1, "$name: and can be answered");
    $child->tell('read');
    is(told($server, $child), '101: Socket closed when attempted reading',
        "$name: all of it arrives, and an end in good order");
    $child->tell('go');
}

done_testing();
