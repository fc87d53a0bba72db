# Nobody has to wait for long because of what another client does.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

# stop() works at once, whatever has come in; nothing of that is lost.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my $all  = 500;
    my $peer = spawn(sub {
        my $me     = shift;
        my $client = Net::EasyTCP->new(
            mode          => 'client',
            host          => '127.0.0.1',
            port          => $port,
            donotcompress => 1,
        ) or die $@;
        $client->send("message $_") foreach 1 .. $all;
        $me->report('sent');
        $client->receive;
    });
    my @got;
    $server->setcallback(
        connect => sub { $server->stop },
        data    => sub { push @got, scalar $_[0]->data; $_[0]->send('go') if @got == $all; $server->stop },
    );
    $server->start;
    is($peer->hear, 'sent', 'many messages are on their way');
    is(scalar @got, 0, 'start returns after the callback that called stop');
    $server->start;
    is(scalar @got, 1, 'every time');
    my $starts = 1;
    while (@got < $all && $starts++ < 2 * $all) { $server->start }
    is_deeply(\@got, [ map { "message $_" } 1 .. $all ], 'later calls handle the rest, in order');
}

# Who asks and does not read the answers stops nobody else: here the server's send() would wait.
{
    my $answer = 'x' x 1_000_000;
    my $asked  = 0;
    my ($server, $port) = new_server(
        donotencrypt  => 1,
        donotcompress => 1,
        highwater     => 4_000_000,
        sendtimeout   => 0,
    );
    my $deaf = spawn(sub {
        my $me     = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        $client->send('a question') foreach 1 .. 100;
        $me->report('asked');
        $me->hear;
        my $got = 0;
        while ($got < 100) { defined $client->receive or last; $got++ }
        $me->report($got);
    });
    my $honest = spawn(sub {
        my $me     = shift;
        $me->hear;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        $client->send('ping');
        $me->report(scalar $client->receive);
    });
    my $pinged = 0;
    $server->setcallback(data => sub {
        my $client = shift;
        if ($client->data eq 'ping') { $client->send('pong'); $pinged++ }
        else                         { $client->send($answer);  $asked++ }
    });
    my $got;
    run_until($server, sub { defined $deaf->poll });
    $honest->tell('go');
    run_until($server, sub { $pinged });
    is($honest->hear, 'pong', 'another client has its answer');
    cmp_ok($asked, '<', 100, 'while not all questions of the first were read');
    $deaf->tell('read now');
    run_until($server, sub { defined($got = $deaf->poll) });
    is($got, 100, 'when it reads, all are answered');
}

# whenfull: what send() does for a client that does not read.
foreach my $how (qw(fail close)) {
    my ($server, $port) = new_server(
        donotencrypt  => 1,
        donotcompress => 1,
        highwater     => 1_000_000,
        whenfull      => $how,
    );
    my $peer = spawn(sub {
        my $me     = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        my $sent   = $me->hear;
        my $got    = 0;
        while ($got < $sent) { defined $client->receive or last; $got++ }
        $me->report($got);
    });
    my ($sent, $why, $gone) = (0, '', 0);
    $server->setcallback(
        connect => sub {
            my $client = shift;
            $sent++ while $sent < 10_000 && $client->send('x' x 100_000);
            $why = $@;
        },
        disconnect => sub { $gone++ },
    );
    run_until($server, sub { $why });
    is($why, 'Error sending data: too much output is queued', "$how: send says why it fails");
    $server->do_one_loop foreach 1 .. 3;
    is($gone, $how eq 'close' ? 1 : 0, "$how: the client is " . ($how eq 'close' ? 'gone' : 'there'));
    $peer->tell($sent);
    my $got;
    run_until($server, sub { defined($got = $peer->poll) });
    if ($how eq 'fail') { is($got, $sent, 'fail: what was accepted arrives') }
    else                { cmp_ok($got, '<', $sent, 'close: what was queued is dropped') }
}

done_testing();
