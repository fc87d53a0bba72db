# A TLS connection after a fork: one process goes on with it, whichever uses it first, and the other one
# never adds a byte. Two that go on would seal different messages with the same key and nonce; here somebody
# in between writes down every record.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Net::EasyTCP;

plan skip_all => "TLS cannot be had: $@" if !tls_usable();

my $LOST = 'The TLS connection belongs to another process';

# Relays one connection and reports each record of the server as it comes: type and bytes.
sub spawn_recorder {
    my $to = shift;
    my $child = spawn(sub {
        my $me = shift;
        my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
        $me->report('PORT ' . $listener->sockport);
        my $client = $listener->accept;
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to) or die $!;
        my $select = IO::Select->new($client, $server);
        my ($bytes, $is_tls) = ('', 0);
        while (my @ready = $select->can_read) {
            foreach my $end (@ready) {
                sysread $end, my $piece, 65536 or exit 0;
                syswrite $end == $client ? $server : $client, $piece;
                next if $end == $client;
                $bytes .= $piece;
                $is_tls ||= $bytes =~ s/\A.*?(?=\x16\x03\x03)//s;
                while ($is_tls && length $bytes >= 5 && length $bytes >= 5 + unpack 'x3n', $bytes) {
                    my $record = substr $bytes, 0, 5 + unpack('x3n', $bytes), '';
                    $me->report('RECORD ' . unpack 'H*', $record) if $record =~ /\A\x17/;
                }
            }
        }
    });
    ($child->{port}) = $child->line =~ /^PORT (\d+)/;
    return $child;
}

# A server whose callback forks; first says who uses the connection first, later the other one tries.
sub spawn_forking {
    my $first = shift;
    return spawn_server(callbacks => { data => sub {
        my $client = shift;
        my $text = $client->data;
        return $client->send("again: $text") if $text ne 'fork';
        pipe my $read, my $write;
        my $pid = fork;
        my $me = $pid ? 'parent' : 'child';
        $EasyTCPTest::Watchdog = undef if !$pid;
        sysread $read, my $go, 1 if $me ne $first;
        $client->send("$me was first") if $me eq $first;
        if ($me eq $first) {
            syswrite $write, 'x';
        }
        else {
            my $sent = $client->send("$me was late");
            my $told = $sent ? 'SENT' : "LOST $@";
            my $got = $client->receive(0.1);
            $EasyTCPTest::Me->report("$told " . (defined $got ? 'RECEIVED' : 'NOTHING'));
        }
        if (!$pid) {
            if ($first eq 'child') {
                $client->send("child: $text") while defined($text = $client->receive) && $text ne 'over';
            }
            POSIX::_exit(0);
        }
        return;
    } });
}

foreach my $first (qw(child parent)) {
    my $server = spawn_forking($first);
    my $recorder = spawn_recorder($server->{port});
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $recorder->{port})
        or BAIL_OUT($@);
    $client->send('fork');
    is($client->receive(60), "$first was first", "$first: who uses it first has it");
    like($server->line, qr/^LOST .*\Q$LOST\E NOTHING$/, "$first: the other one has not");
    $client->send($_) foreach 1 .. 20;
    my $prefix = $first eq 'child' ? 'child' : 'again';
    is_deeply([ map { $client->receive(60) } 1 .. 20 ], [ map {"$prefix: $_"} 1 .. 20 ],
        "$first: the connection goes on with the first one, every record in its place");
    $client->close;
    my @records = $recorder->poll_all;
    my %seen;
    is(scalar(grep { $seen{$_}++ } @records), 0, "$first: no record came twice");
    cmp_ok(scalar @records, '<=', 22 + 2 + 4, "$first: and none that the client has not opened");
    $_->kill foreach $recorder, $server;
}

# A child that only lived for a while, as that of system() does, takes nothing away: the connection ends well.
for my $how ('closes', 'is dropped') {
    my $server = spawn_server(callbacks => {
        data => sub {
            my $client = shift;
            my $text = $client->data;
            $client->send($text);
            if ($text eq 'end') { system $^X, '-e', '0'; $client->close }
        },
        disconnect => sub { $EasyTCPTest::Me->report("LEFT '$_[1]'") },
    });
    my @to = (mode => 'client', host => '127.0.0.1', port => $server->{port}, requireencryption => 'TLS');
    my $client = Net::EasyTCP->new(@to) or BAIL_OUT($@);
    $client->send('x');
    is($client->receive(60), 'x', 'TLS before a system()');
    system $^X, '-e', '0';
    $how eq 'closes' ? $client->close : undef $client;
    is($server->line, q{LEFT ''}, "a client that $how after it ends in good order");
    $client = Net::EasyTCP->new(@to) or BAIL_OUT($@);
    $client->send('end');
    is($client->receive(60), 'end', 'and the other way round');
    is($client->receive(60), undef, 'a server closes after it');
    is($@, 'Socket closed when attempted reading', 'in good order');
    $server->kill;
}

# Neither uses it, one closes: that is no use, and the other one goes on.
{
    my $server = spawn_server(callbacks => { connect => sub {
        my $client = shift;
        if (!fork) {
            $EasyTCPTest::Watchdog = undef;
            $client->send("child: $_") while defined($_ = $client->receive);
            POSIX::_exit(0);
        }
        $client->close;
    } });
    my @clients = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or BAIL_OUT($@);
    } 1 .. 3;
    foreach my $n (1 .. 5) {
        $_->send($n) foreach @clients;
        is_deeply([ map { $_->receive(60) } @clients ], [ ("child: $n") x 3 ],
            "parents close, children serve: $n");
    }
    is($_->encryption, 'TLS', 'over TLS') foreach $clients[0];
    $_->close foreach @clients;
    $server->kill;
}

# A program that runs others does not lose its connections.
{
    my $server = spawn_server(callbacks => { data => sub {
        my $client = shift;
        my $said = `echo said`;
        system('true');
        $client->send($client->data . " $said");
    } });
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
        or BAIL_OUT($@);
    foreach my $n (1 .. 5) {
        $client->send($n);
        is($client->receive(60), "$n said\n", "system() and backticks at the server: $n");
        system('true');
    }
    $server->kill;
}

# Nor does it wait for a peer that does not read: here that is the program itself.
{
    my ($server, $port) = new_server(donotcompress => 1);
    my ($peer, $length);
    $server->setcallback(connect => sub { $peer = $_[0] });
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
        donotcompress => 1, loop => $server) or BAIL_OUT($@);
    $client->setcallback(data => sub { $length = length $_[0]->data });
    $server->process(0.1) until $peer;
    $peer->send('x' x 20_000_000);
    ok($peer->queued, 'much waits until a client reads');
    foreach my $n (1, 2) { is(system('true'), 0, "system() does not: $n") }
    $server->process(0.1) until $length;
    is($length, 20_000_000, 'all of it arrives');
}

done_testing();
