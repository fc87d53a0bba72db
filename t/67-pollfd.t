# A server inside a loop of the program's own: one descriptor that is readable while there is something
# to do, and process(). Nothing but select and IO::Poll here.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Poll ();
use Net::EasyTCP;

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
plan skip_all => $@ if !defined $server->pollfd && $@ =~ /^No pollable/;

my $PATIENCE = 30;

sub readable {
    my ($what, $seconds) = @_;
    my $number = ref $what ? fileno $what : $what;
    vec(my $bits = '', $number, 1) = 1;
    return scalar select($bits, undef, undef, defined $seconds ? $seconds : 0);
}

# Serves by the descriptor alone until the condition holds.
sub serve_until {
    my ($object, $condition) = @_;
    until ($condition->()) {
        readable($object->pollhandle, $PATIENCE) or return 0;
        $object->process or die "process: $@";
    }
    return 1;
}

sub spawn_client {
    my ($code) = @_;
    return spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port)
            or die $@;
        $me->report('up');
        $code->($me, $client);
    });
}

# ---- facts about the methods -------------------------------------------------------------------

{
    my $fd     = $server->pollfd;
    my $handle = $server->pollhandle;
    like($fd, qr/\A\d+\z/, 'pollfd is a number');
    isa_ok($handle, 'IO::Handle');
    isnt(fileno $handle, $fd, 'pollhandle has a descriptor of its own');
    is($server->pollfd,     $fd,     'pollfd is always the same');
    is($server->pollhandle, $handle, 'so is pollhandle');
    ok(!readable($fd),     'a server without clients is silent');
    ok(!readable($handle), 'by both numbers');
    is($server->polltimeout, undef, 'and waits for nothing');
    ok($server->process, 'process() without work returns true');
    is(scalar(my @none = $server->process), 1, 'one value in a list');

    close $handle;
    ok(!readable($server->pollfd), 'pollfd survives the end of the handle');
    ok($server->process, 'and the server does');
}

# ---- a conversation ----------------------------------------------------------------------------

{
    my @seen;
    ($server, $port) = new_server();
    $server->setcallback(
        connect    => sub { push @seen, 'connect' },
        data       => sub { push @seen, my $d = $_[0]->data; $_[0]->send("re: $d") },
        disconnect => sub { push @seen, 'disconnect' },
    );
    my $child = spawn_client(sub {
        my ($me, $client) = @_;
        for my $text (qw(one two three)) {
            $client->send($text);
            $me->report($client->receive);
        }
        $client->close;
    });
    ok(serve_until($server, sub { @seen && $seen[-1] eq 'disconnect' }), 'served by select');
    is_deeply(\@seen, [qw(connect one two three disconnect)], 'every event came, in order');
    is_deeply([ $child->rest ], [ 'up', map { "re: $_" } qw(one two three) ], 'and every answer');
    $server->process while readable($server->pollfd);
    ok(!readable($server->pollfd), 'silent again');

    my $poll = IO::Poll->new;
    $poll->mask($server->pollhandle => IO::Poll::POLLIN());
    @seen  = ();
    $child = spawn_client(sub {
        my ($me, $client) = @_;
        $client->send('by poll');
        $me->report($client->receive);
    });
    until (@seen && $seen[-1] eq 'disconnect') {
        last if $poll->poll($PATIENCE) < 1;
        $server->process;
    }
    is_deeply(\@seen, [ 'connect', 'by poll', 'disconnect' ], 'served by IO::Poll');
}

# ---- work that no descriptor reports -----------------------------------------------------------

# An exception leaves messages of the same read behind.
{
    my @seen;
    ($server, $port) = new_server();
    $server->setcallback(data => sub { push @seen, my $d = $_[0]->data; die "oops\n" if $d eq 'first' });
    my $child = spawn_client(sub {
        my ($me, $client) = @_;
        $client->send($_) for qw(first second third);
        $me->hear;
    });
    my $died = 0;
    until (@seen >= 3) {
        readable($server->pollfd, $PATIENCE) or last;
        eval { $server->process; 1 } or $died++;
    }
    is($died, 1, 'an exception goes through process()');
    is_deeply(\@seen, [qw(first second third)], 'the descriptor tells of the messages behind it');

    # A client that is closed from outside is to be forgotten.
    my ($client) = $server->clients;
    my $gone = 0;
    {
        package Watched;
        sub new { bless [] }
        sub DESTROY { $gone++ }
    }
    $client->{mine} = Watched->new;
    $server->process while readable($server->pollfd);
    $client->close;
    undef $client;
    ok(readable($server->pollfd, $PATIENCE), 'readable after a close from outside');
    serve_until($server, sub { $gone });
    is($gone, 1, 'and process() lets go of the object');
    $child->tell('end');
}

# A deadline, without any timer of the program.
{
    my @gone;
    ($server, $port) = new_server(idletimeout => 0.2);
    $server->setcallback(connect => sub { }, disconnect => sub { push @gone, $_[0]->serial });
    my $child = spawn_client(sub { my ($me, $client) = @_; $client->receive; $me->report('closed') });
    ok(serve_until($server, sub { $server->clients }), 'a silent client');
    my $left = $server->polltimeout;
    ok(defined $left && $left <= 0.2, 'polltimeout knows its deadline');
    ok(serve_until($server, sub { @gone }), 'a deadline makes the descriptor readable');
    is_deeply([ $child->rest ], [ 'up', 'closed' ], 'the client was told');
}

# Output that was queued in a callback of somebody else's loop.
{
    my $big = 'x' x (8 << 20);
    ($server, $port) = new_server(donotcompress => 1, donotencrypt => 1);
    $server->setcallback(connect => sub { });
    my $child = spawn_client(sub {
        my ($me, $client) = @_;
        $me->hear;
        my $got = $client->receive;
        $me->report(length $got);
    });
    serve_until($server, sub { $server->clients });
    $server->process while readable($server->pollfd);
    my ($client) = $server->clients;
    $client->send($big);
    $child->tell('read');
    my $answer;
    until (defined($answer = $child->poll) && $answer ne 'up') {
        readable($server->pollfd, 0.05);
        $server->process;
    }
    is($answer, length $big, 'a queue leaves through process()');
}

# ---- waiting -----------------------------------------------------------------------------------

{
    ($server, $port) = new_server();
    $server->setcallback(data => sub { $_[0]->send($_[0]->data) });
    ok($server->process(0),      'process(0) returns at once');
    ok($server->process(-1),     'so does a negative time');
    ok($server->do_one_loop(0),  'do_one_loop takes a time, too');
    my $connected = 0;
    $server->setcallback(connect => sub { $connected = 1 });
    my $child = spawn_client(sub { $_[0]->hear });
    my $rounds = 0;
    until ($connected) { $server->process($PATIENCE); $rounds++ }
    ok($connected, 'process($seconds) waits for what comes');
    $child->tell('end');
}

# ---- processes ---------------------------------------------------------------------------------

# Watched before the fork, served by the child: as daemons do it.
{
    ($server, $port) = new_server();
    $server->setcallback(data => sub { $_[0]->send("$$ " . $_[0]->data) });
    my $fd     = $server->pollfd;
    my $handle = $server->pollhandle;
    $server->process;
    my $daemon = spawn(sub {
        my $me = shift;
        $me->report("$$ " . ($server->pollfd == $fd ? 'same' : 'other'));
        while (1) { readable($handle, $PATIENCE); $server->process }
    });
    my ($pid, $number) = split ' ', $daemon->line;
    is($number, 'same', 'a child has the same number');
    my $child = spawn_client(sub {
        my ($me, $client) = @_;
        $client->send('who');
        $me->report($client->receive);
    });
    is($child->line, 'up', 'a client of the child');
    is($child->line, "$pid who", 'is served by it');
    $daemon->kill;
}

# What a child does is nothing to its parent.
{
    ($server, $port) = new_server();
    $server->setcallback(data => sub { $_[0]->send('parent ' . $_[0]->data) });
    my $handle = $server->pollhandle;
    my $child  = spawn_client(sub {
        my ($me, $client) = @_;
        $client->send('one');
        $me->report($client->receive);
        $me->hear;
        $client->send('two');
        $me->report($client->receive);
    });
    my @lines;
    my $next = sub { my $l = $child->poll; push @lines, $l if defined $l; return @lines >= shift };
    until ($next->(2)) { readable($handle, 0.05); $server->process }
    my $other = spawn(sub { my $me = shift; $server->process for 1 .. 3; $me->report('done') });
    is($other->line, 'done', 'a child that looks around');
    $other->wait;
    $child->tell('go on');
    until ($next->(3)) { readable($handle, 0.05); $server->process }
    is_deeply(\@lines, [ 'up', 'parent one', 'parent two' ], 'the parent goes on');
}

# A dropped server leaves a silent handle.
{
    ($server, $port) = new_server();
    my $handle = $server->pollhandle;
    undef $server;
    ok(!readable($handle), 'the handle of a dropped server is silent');
}

# ---- other objects -----------------------------------------------------------------------------

{
    ($server, $port) = new_server();
    my $hybrid;
    $server->setcallback(connect => sub { $hybrid = shift });
    my $child = spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        foreach my $method (qw(pollfd pollhandle process polltimeout attach detach)) {
            my $result = $client->$method;
            $me->report(defined $result ? "defined: $result" : $@);
        }
    });
    run_until($server, sub { $hybrid });
    is_deeply(
        [ $child->rest ],
        [ map { "client cannot use method $_()" } qw(pollfd pollhandle process polltimeout attach detach) ],
        'blocking clients have none of these'
    );
    is($hybrid->pollfd, undef, 'nor have clients of a server');
    is($@, 'serverclient cannot use method pollfd()', 'and say so');
}

# The poll backend has no descriptor; attach() makes do with a timer there.
{
    my $child = spawn(sub {
        my $me = shift;
        local $ENV{NET_EASYTCP_POLLER} = 'poll';
        my ($server) = new_server();
        $me->report(defined $server->pollfd ? 'defined' : $@);
        $me->report(defined $server->pollhandle ? 'defined' : $@);
        $me->report($server->process ? 'processed' : $@);
    });
    is_deeply([ $child->rest ], [ ('No pollable descriptor on this system') x 2, 'processed' ],
        'without a descriptor');
}

done_testing();
