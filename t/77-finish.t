# finish: a server ends in good order.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my %bare = (donotencrypt => 1, donotcompress => 1);

# Clients that ask and are answered until the server closes; none loses an answer.
{
    my $child = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server(%bare);
        my ($gone, $finished) = (0, 0);
        $server->setcallback(data => sub { $_[0]->send($_[0]->data) }, disconnect => sub { $gone++ },
            finished => sub { $finished++ if $_[0] == $server });
        local $SIG{TERM} = sub { $server->finish(1) or die $@ };
        $me->report($port);
        my $ok = $server->start;
        $me->report(join ' ', $ok ? 1 : 0, $server->running, scalar($server->clientlist), $gone, $finished);
        $me->report($server->start ? 'again' : $@);
    });
    my $port    = $child->line;
    my @clients = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, %bare);
    } 1 .. 20;
    is(scalar(grep { $_ } @clients), 20, '20 clients');
    kill 'TERM', $child->pid;
    my ($answers, $lost, @left) = (0, 0, @clients);
    while (@left) {
        foreach my $client (splice @left) {
            my $sent = $client->send('x') or next;
            my $answer = $client->receive(60);
            $answers++ if defined $answer;
            push @left, $client if defined $answer;
        }
    }
    cmp_ok($answers, '>', 20, 'are served meanwhile');
    ok(!Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, timeout => 5),
        'nobody else connects');
    is($child->line, '1 0 0 0 1', 'start returned true; nobody is left; no disconnect, one finished');
    is($child->line, 'again', 'start on what has finished returns at once');
    $child->wait;
}

# Nobody is there, and nothing wakes the loop: it must not wait for more.
{
    my $child = spawn(sub {
        my $me = shift;
        my ($server) = new_server(%bare);
        local $SIG{TERM} = sub { $server->finish(1) };
        $me->report('ready');
        $me->report($server->start ? 'finished' : $@);
    });
    $child->line;
    kill 'TERM', $child->pid;
    is($child->line, 'finished', 'a server without clients');
    $child->wait;
}

# What was queued is delivered first.
{
    my ($server, $port) = new_server(%bare);
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    my ($client, $finished);
    $server->setcallback(data => sub {
        $client = $_[0];
        $client->send('y' x 3_000_000);
    }, finished => sub { $finished = 1 });
    write_to($sock, packet(5, 'much'));
    run_until($server, sub { $client });
    is($server->finish(0), 1, 'finish while a client reads slowly');
    my ($read, $bytes) = (0);
    run_until($server, sub {
        my $n;
        while (IO::Select->new($sock)->can_read(0) and $n = sysread $sock, $bytes, 100_000) { $read += $n }
        $finished || defined $n && $n == 0;
    });
    is($read, length packet(4, 'y' x 3_000_000), 'it gets everything');
    close $sock;
    run_until($server, sub { $finished });
    ok($finished, 'then the callback comes, without start');
    is($server->adopt(0), undef, 'nothing is adopted any more');
}

# Shown in polltimeout.
{
    my ($server, $port) = new_server(%bare);
    my @socks = map { raw_negotiate(raw_connect($port), loop_of($server)) } 1 .. 3;
    run_until($server, sub { $server->clientlist == 3 });
    $server->finish(3600);
    $server->process for 1 .. 3;
    my $seconds = $server->polltimeout;
    ok($seconds > 1000 && $seconds < 2000, "half an hour until the next: $seconds");
    $server->finish(0);
    run_until($server, sub { $server->clientlist == 0 });
    ok(has_closed($_), 'a second finish with less time') foreach @socks;
}

foreach my $wrong ('-1', 'nan', 1e9) {
    my ($server) = new_server();
    ok(!defined $server->finish($wrong), "finish($wrong)");
    like($@, qr/^Invalid seconds '.*': must be between 0 and 86400\z/, 'is an error');
}

done_testing();
