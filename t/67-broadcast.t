# broadcast(): one message to many clients, whatever each has agreed on.
use strict;
use warnings;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;
use Test::More;

my ($server, $port) = new_server();
my (@joined, @left, $failed);
$server->setcallback(
    connect    => sub { push @joined, shift },
    data       => sub { my $client = shift; $client->send($client->data) },
    disconnect => sub {
        push @left, shift;
        $failed = $server->broadcast('somebody left');
    },
);

# Clients of all kinds, in one process: the loop runs between their steps.
my @kinds = ([], [ donotencrypt => 1 ], [ donotcompress => 1 ], [ donotencrypt => 1, donotcompress => 1 ],
    [ donotcompresswith => 'Compress::Zlib' ], [ donotencryptwith => [ 'Crypt::Rijndael', 'Crypt::RC6' ] ]);
my @clients = map { spawn_client(@$_) } @kinds;

# A client in a process of its own, that reports what it receives.
sub spawn_client {
    my @options = @_;
    return spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, @options)
            or die "cannot connect: $@";
        while (defined(my $message = $client->receive(60))) {
            $me->report(ref $message ? "list of @$message" : length $message > 40
                ? 'long of ' . length $message : $message);
            last if !ref $message && $message eq 'leave';
        }
        $client->close;
    });
}

is($server->broadcast('nobody'), '0E0', 'to nobody: true, and zero');
ok(run_until($server, sub { @joined == @kinds }), 'all clients are there');
my $all = @joined;

sub hear {
    my ($name, $want, @who) = @_;
    $server->do_one_loop;
    is($_->line, $want, "$name: heard") for @who;
    return;
}

is($server->broadcast('hello'), $all, 'a line');
hear('a line', 'hello', @clients);
is($server->broadcast([ 1 .. 5 ]), $all, 'a structure');
hear('a structure', 'list of 1 2 3 4 5', @clients);
is($server->broadcast('word ' x 40_000), $all, 'a long message');
hear('a long message', 'long of 200000', @clients);
is($server->broadcast(''), $all, 'nothing at all');
hear('nothing at all', '', @clients);
is($server->broadcast(0), $all, 'zero');
hear('zero', 0, @clients);
is($server->broadcast("caf\x{e9}\x{100}"), undef, 'wide characters cannot be sent');
like($@, qr/^Error sending data: Wide character in data/, 'which $@ says');
is($server->broadcast(undef), undef, 'nor can undef');
like($@, qr/^Error sending data: Data not supplied/, 'which $@ says');
is($server->broadcast, undef, 'nor no argument');

my ($first, $second, $third) = @joined;
is($server->broadcast('to two', to => [ $first, $third, $first ]), 2, 'to: each once');
is($server->broadcast('not to two', except => [ $first, $third ]), $all - 2, 'except several');
is($server->broadcast('not to one', except => $second), $all - 1, 'except one');
is($server->broadcast('to one', to => [ $first, $second ], except => $second), 1, 'to and except');
is($server->broadcast('to one', to => $first), 1, 'to one');
is($server->broadcast('none', to => []), '0E0', 'to nobody of all');
is($server->broadcast('none', to => [ undef, 1, {}, 'x' ]), '0E0', 'what is no client does not count');
is($server->broadcast('x', to => 'all'), undef, 'to must be a list');
like($@, qr/^Invalid to: must be a client or a reference to an array of clients/, 'which $@ says');
is($server->broadcast('x', except => {}), undef, 'except too');
like($@, qr/^Invalid except: /, 'which $@ says');
is($server->broadcast('later', later => 'more'), $all, 'options of later releases are ignored');
$server->do_one_loop;
my %heard;
foreach my $client (@clients) {
    while (defined(my $line = $client->line)) {
        $heard{$line}++;
        last if $line eq 'later';
    }
}
is_deeply(\%heard, { 'to two' => 2, 'not to two' => $all - 2, 'not to one' => $all - 1, 'to one' => 2,
    later => $all }, 'everybody has heard what was for him');

# A client of another server is none of ours.
{
    my ($other) = new_server();
    is($other->broadcast('x', to => [ $first ]), '0E0', 'clients of another server');
}

# The order of send and broadcast is kept, inside callbacks too.
$first->send('before');
$server->broadcast('between');
$first->send('after');
$server->do_one_loop;
my @next = map { $_->line } @clients;
my ($mine) = grep { $next[$_] eq 'before' } 0 .. $#next;
ok(defined $mine, 'what was sent before comes first');
is($clients[$mine]->line, 'between', 'then the broadcast');
is($clients[$mine]->line, 'after', 'then what was sent after');

# Who leaves is skipped, in its disconnect callback too.
$first->send('leave');
ok(run_until($server, sub { @left == 1 }), 'one leaves');
is($failed, $all - 1, 'a broadcast in its disconnect callback skips it');
$second->close;
is($server->broadcast('who is left'), $all - 2, 'and one that was closed');

# A hook may close a client, or the very one that comes next.
{
    package Closing;
    sub STORABLE_freeze { $third->close; return 'x' }
}
is($server->broadcast([ bless {}, 'Closing' ]), $all - 3, 'a hook closes a client meanwhile');

# Numbers go to each as it can receive them: an original's Storable knows no items of ours.
{
    my ($mixed, $mixed_port) = new_server();
    my @there;
    $mixed->setcallback(connect => sub { push @there, shift });
    my $exact = 0.1 + 0.2;
    my $new = spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $mixed_port) or die $@;
        my $got = $client->receive(60);
        $me->report($got->[0] == $exact && $got->[1] == 2**40 ? 'as it was' : "@$got");
        $me->line;
    });
    ok(run_until($mixed, sub { @there == 1 }), 'a new client is there');
    my $old = OldPeer->client(version => '0.26', port => $mixed_port, idle => sub { $mixed->do_one_loop })
        or BAIL_OUT('cannot connect: ' . OldPeer->error);
    ok(run_until($mixed, sub { @there == 2 }), 'and one like an original');
    is($mixed->broadcast([ $exact, 2**40 ]), 2, 'numbers go to both');
    is($new->line, 'as it was', 'the new one gets them exactly');
    my $got = $old->receive;
    ok($got && abs($got->[0] - $exact) < 1e-9 && $got->[1] == 2**40, 'the old one as it can read them')
        or diag(OldPeer->error);
    $new->kill;
}

# Serverclients and clients cannot.
is($joined[-1]->broadcast('x'), undef, 'a serverclient does not broadcast');
is($@, 'serverclient cannot use method broadcast()', 'which $@ says');
$_->kill for @clients;
done_testing();
