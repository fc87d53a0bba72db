# The option compress: what it may be, and that every choice of one end is understood by the other.
use strict;
use warnings;
use lib 't/lib';
use EasyTCPTest;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep);
use Net::EasyTCP;

my @valid = qw(auto always never);

my @messages = (
    'x' x 31, 'y' x 32, 'the same words again, ' x 20, "\0" x 300_000,
    (join '', map { "line $_: " . $_ * 7919 % 1000 . "\n" } 1 .. 20_000),
    (pack 'N*', map { $_ * 2654435761 % 4294967296 } 1 .. 20_000),
    { list => [ map { { id => $_, name => "name $_" } } 1 .. 500 ] },
);

foreach my $ours (@valid, undef) {
    my @ours = defined $ours ? (compress => $ours) : ();
    my $server = spawn_server(@ours);
    foreach my $theirs (@valid) {
        my $client = client_to($server, compress => $theirs);
        my $name = (defined $ours ? $ours : 'no option') . " and $theirs";
        ok($client, "$name: connected") or diag $@;
        is($client->compression, 'Compress::Zlib', "$name: compression() tells what was agreed on");
        my $wrong = 0;
        foreach my $message (@messages) {
            $client->send($message) or diag $@;
            my $back = $client->receive(60);
            $wrong++ if ref $message ? !eq_hash($back, $message) : !defined $back || $back ne $message;
        }
        is($wrong, 0, "$name: all messages come back");
        $client->close;
    }
    my $lzf = client_to($server, donotcompresswith => 'Compress::Zlib', compress => 'always');
    is($lzf->compression, 'Compress::LZF', 'another compressor');
    $lzf->send($messages[4]);
    ok($lzf->receive(60) eq $messages[4], 'comes back too');
    $lzf->close;
    my $none = client_to($server, donotcompress => 1, compress => 'never');
    is($none->compression, undef, 'never goes with donotcompress');
    $none->close;
    $server->kill;
}

my $server = spawn_server();
foreach my $word ('', 'sometimes', 'Auto', 0, 1) {
    is(client_to($server, compress => $word), undef, "compress => '$word' is refused");
    is($@, "Invalid compress '$word': must be 'auto', 'always' or 'never'", 'with this text');
}
ok(client_to($server, compress => undef), 'undef is none');
is(client_to($server, compress => 'always', donotcompress => 1), undef, 'always and donotcompress');
is($@, q(compress 'always' and donotcompress contradict each other), 'contradict each other');
is(Net::EasyTCP->new(mode => 'server', port => '00', compress => 'always', donotcompress => 1), undef,
    'for a server too');
is($@, q(compress 'always' and donotcompress contradict each other), 'with the same text');
$server->kill;
# A relay to a server. It tells when so many bytes have come back, and at the end how many went there; bytes
# of the server are late by so many seconds.
sub relay {
    my ($port, $enough, $late) = @_;
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or BAIL_OUT("no listener: $!");
    my $relay = spawn(sub {
        my $me = shift;
        my $from = $listener->accept or die "accept: $!";
        my $to = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
            or die "connect: $!";
        my $select = IO::Select->new($from, $to);
        my ($count, $back) = (0, 0);
        while (1) {
            foreach my $ready ($select->can_read) {
                my $got = sysread $ready, my $bytes, 65536;
                if (!$got) { $me->report($count); return }
                $count += $got if $ready == $from;
                $back  += $got if $ready == $to;
                sleep $late if $ready == $to;
                my $other = $ready == $from ? $to : $from;
                for (my $done = 0; $done < $got;) { $done += syswrite($other, $bytes, $got - $done, $done)
                    || return }
                if ($back > $enough) { $me->report('echoed'); $back = -1e9 }
            }
        }
    });
    return ($relay, $listener->sockport);
}

# A client that only sends learns from the server's last packet that it may compress, when it is there.
{
    my $echo = spawn_server();
    my ($relay, $port) = relay($echo->{port}, 10_000, 0);
    my $client = client_to($port, compress => 'always') or BAIL_OUT("cannot connect: $@");
    ok($client->send('line ' x 2_000), 'something is sent');
    is($relay->line, 'echoed', 'what is at the client now stands behind that packet');
    ok($client->send('line ' x 2_000), 'more is sent') for 1 .. 5;
    $client->close;
    cmp_ok($relay->line, '<', 20_000, 'compressed');
    $echo->kill;
}

# For a large message it waits for that packet: what the way there takes is less than what is saved.
{
    my $echo = spawn_server(callbacks => { data => sub { $_[0]->data } });
    my ($relay, $port) = relay($echo->{port}, 1e9, 0.2);
    my $client = client_to($port, compress => 'always') or BAIL_OUT("cannot connect: $@");
    ok($client->send('line ' x 20_000), 'a large string is the first message');
    $client->close;
    cmp_ok($relay->line, '<', 20_000, 'which is compressed, too');
    $echo->kill;
}

# What a signal's handler does to the variable while it waits comes too late.
{
    my $echo = spawn_server();
    my $message;
    foreach my $case ([ 'a string', 'line ' x 20_000 ], [ 'a structure', { list => [ 1, 2 ] } ]) {
        my ($what, $first) = @$case;
        foreach my $other ('other', undef, [3]) {
            my ($relay, $port) = relay($echo->{port}, 1e9, 0.4);
            my $client = client_to($port) or BAIL_OUT("cannot connect: $@");
            $message = $first;
            local $SIG{ALRM} = sub { $message = $other };
            ring_soon();
            $client->send($message);
            is_deeply($client->receive, $first, "$what is sent as it was given");
            $relay->kill;
        }
    }
    $echo->kill;
}

done_testing();
