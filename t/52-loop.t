# start, start(sub), do_one_loop, stop, running.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);

# start(sub): called after each loop with the server, until stop().
{
    my ($calls, @arguments, $running) = (0);
    my $result = $server->start(sub {
        @arguments = @_;
        $running = $server->running;
        $server->stop if ++$calls == 3;
    });
    is($result, 1, 'start() returns 1');
    is($calls, 3, 'the code was called after each loop until stop()');
    is(scalar @arguments, 1, 'with one argument');
    is($arguments[0], $server, 'the server');
    is($running, 1, 'running() inside');
    is($server->running, 0, 'running() afterwards');
}

# Clients and the port outlive stop(); start() can be called again.
{
    my ($connected, @data) = (0);
    $server->setcallback(
        connect => sub { $connected++; $server->stop },
        data    => sub { my $d = $_[0]->data; push @data, $d; $_[0]->send("re: $d"); $server->stop },
    );
    my $child = spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        $me->report('up');
        $me->hear;
        $client->send('one');
        $me->report($client->receive);
        $me->hear;
        $client->send('two');
        $me->report($client->receive);
        $me->hear;
    });
    is($server->start, 1, 'start() returns after stop() in a connect callback');
    is($connected, 1, 'after the callback');
    is($server->running, 0, 'running() afterwards');
    is($child->line, 'up', 'the client is connected');
    is(scalar $server->clients, 1, 'the client stays');
    $child->tell('go');
    is($server->start, 1, 'start() again');
    is($child->line, 're: one', 'what was sent before stop() arrives after it');
    is($server->stop, 1, 'stop() while not running');
    $child->tell('go');
    is($server->start, 1, 'is forgotten by start()');
    is_deeply(\@data, [qw(one two)], 'both messages came');
    is($child->line, 're: two', 'the other answer');
    $child->tell('end');
    $child->wait;
}

# do_one_loop() works without start() and does not wait long.
{
    my $gone;
    $server->setcallback(disconnect => sub { $gone = 1 });
    run_until($server, sub { $gone });
    ok($gone, 'do_one_loop() does the work alone');
    is($server->running, 0, 'and running() stays');
    is($server->do_one_loop, 1, 'it returns 1 when nothing happens');
}

# start() with something that is no code: ignored.
{
    my $stop = spawn(sub {
        my $peer = OldPeer->client(version => '0.19', port => $port) or die OldPeer->error;
        $_[0]->hear;
    });
    $server->setcallback(connect => sub { $server->stop });
    is($server->start('nothing'), 1, 'start() ignores what is no code');
    $stop->kill;
}

# stop() in each callback lets the round finish.
foreach my $event (qw(connect data disconnect)) {
    my ($own, $own_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @log;
    $own->setcallback(map {
        my $name = $_;
        $name => sub {
            push @log, $name;
            $_[0]->data if $name eq 'data';
            $own->stop if $name eq $event;
        };
    } qw(connect data disconnect));
    my $child = spawn(sub {
        my $me = shift;
        my $peer = OldPeer->client(version => '0.19', port => $own_port) or die OldPeer->error;
        $me->hear;
        $peer->send('x');
        $me->hear if $event ne 'disconnect';
    });
    $child->tell('go') if $event ne 'connect';    # data may come in the same round
    is($own->start, 1, "stop() in $event: start() returns 1");
    is($log[-1], $event, "stop() in $event: right after it");
    $child->kill;
}

# start() fails on other objects and is refused nowhere else.
{
    my $peer = spawn(sub { OldPeer->client(version => '0.19', port => $port); $_[0]->hear });
    my $object;
    $server->setcallback(connect => sub { $object = shift; $server->stop });
    $server->start;
    is($object->start, undef, 'start() of a client');
    is($@, 'serverclient cannot use method start()', 'and its text');
    $peer->kill;
}

# A loop inside the loop's code.
{
    my $depth = 0;
    is($server->start(sub { $depth++; $server->do_one_loop for 1 .. 3; $server->stop }), 1,
        'do_one_loop() inside the code of start()');
    is($depth, 1, 'once');
}

# start() inside start(): the inner one ends by stop(), the outer one by its own.
{
    my @order;
    my $calls = 0;
    $server->start(sub {
        if ($calls++ == 0) {
            $server->start(sub { push @order, 'inner'; $server->stop });
            push @order, 'between';
        }
        else {
            push @order, 'outer';
            $server->stop;
        }
    });
    is_deeply(\@order, [qw(inner between outer)], 'start() inside the code of start()');
}

done_testing();
