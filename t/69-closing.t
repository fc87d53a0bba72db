# "What was sent before still arrives": whatever is unread at that moment, whoever forked before, and also
# when the object just goes away. Handlers of signals run while closing waits.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Select;
use POSIX ();
use Net::EasyTCP;

my %PLAIN = (donotencrypt => 1, donotcompress => 1);
my $ANSWER = 'answer' x 100_000;
my $LARGE = 'x' x 100_000;

# What makes a second process have every descriptor for a while.
my %before = (
    'nothing'         => sub { },
    'system()'        => sub { system $^X, '-e', '1' },
    'backticks'       => sub { my $text = `$^X -e 1` },
    'a forked child'  => sub {
        my $pid = fork;
        POSIX::_exit(0) if !$pid;
        waitpid $pid, 0;
    },
    'its grandchild'  => sub {
        pipe my $r, my $w or die $!;
        my $pid = fork;
        if (!$pid) {
            close $r;
            fork;
            close $w;
            POSIX::_exit(0);
        }
        close $w;
        waitpid $pid, 0;
        my $both_gone = <$r>;
        # The end of the pipe may come before that of other descriptors: wait for nothing but the process.
        select undef, undef, undef, 0.05;
    },
);

# ---- servers close ----------------------------------------------------------------------------------

foreach my $what (sort keys %before) {
    my $server = spawn_server(%PLAIN, callbacks => {
        data => sub {
            my $client = shift;
            $client->data;
            $before{$what}->();
            $client->send($ANSWER);
            $client->close;
        },
    });
    my $right = 0;
    foreach (1 .. 5) {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
            or die $@;
        $client->send('question');
        $client->send('more ' x 40_000);
        my $answer = $client->receive;
        $right++ if defined $answer && $answer eq $ANSWER;
    }
    is($right, 5, "after $what: a server's answers arrive though it closed with input unread");
    $server->kill('TERM');
}

# ---- clients close ------------------------------------------------------------------------------------

sub counting_server {
    my %count;
    return spawn_server(%PLAIN, callbacks => {
        connect    => sub { $_[0]->send('a greeting that nobody reads') },
        data       => sub { my $data = $_[0]->data; $count{ $_[0]->serial }++; $_[0]->send($data) },
        disconnect => sub { $EasyTCPTest::Me->report(delete $count{ $_[0]->serial } || 0) },
    });
}

my %end = (
    'close()'              => sub { $_[0]->close },
    'dropping the object'  => sub { undef $_[0] },
);
foreach my $how (sort keys %end) {
    foreach my $what (sort keys %before) {
        my $server = counting_server();
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
            or die $@;
        $before{$what}->();
        IO::Select->new($client->socket)->can_read;    # the greeting is there
        $client->send($LARGE) or die $@ foreach 1 .. 20;
        $end{$how}->($client);
        is($server->line, 20, "after $what: all that a client had sent before $how arrives");
        $server->kill('TERM');
    }
}
{
    my $server = counting_server();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    $client->send('y' x 1000) foreach 1 .. 1000;
    $client->close;
    is($server->line, 1000, 'a thousand small messages, answers to which are under way');
    $server->kill('TERM');
}

# ---- a server goes --------------------------------------------------------------------------------------

{
    my $server = spawn(sub {
        my $me = shift;
        my ($object, $port) = new_server(%PLAIN);
        $object->setcallback(data => sub { $_[0]->data; $_[0]->send($ANSWER); $object->stop });
        $me->report("PORT $port");
        $object->start;
        undef $object;
    });
    my ($port) = $server->line =~ /(\d+)/;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
    $client->send('question');
    $client->send('more ' x 40_000);
    is($client->receive, $ANSWER, 'an answer given just before the server goes arrives');
    $server->wait;
}

# ---- who else has the connection ------------------------------------------------------------------------

# A grandchild goes on while the parent closes and its own parent has ended.
{
    my ($server, $port) = new_server(%PLAIN);
    my ($client, $grandchild);
    pipe my $go, my $give or die $!;
    $server->setcallback(connect => sub { $client = shift });
    my $peer = spawn(sub {
        my $me = shift;
        my $c = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        $me->hear;
        $c->send('unread');
        $me->report(defined $_ ? $_ : 'nothing') foreach $c->receive;
    });
    run_until($server, sub { $client });
    my $pid = fork;
    if (!$pid) {
        if (!fork) {
            close $give;
            sysread $go, my $byte, 1;
            $client->send('from the grandchild');
        }
        POSIX::_exit(0);
    }
    close $go;
    waitpid $pid, 0;
    $server->setcallback(data => sub { });
    $peer->tell('send');
    IO::Select->new($client->socket)->can_read;
    $client->close;
    $server->do_one_loop foreach 1 .. 3;
    syswrite $give, 'x';
    is($peer->line, 'from the grandchild', 'what a living grandchild has is not shut down');
}

# To the background: the child is the only one once its parent has ended.
{
    my $server = counting_server();
    my $daemon = spawn(sub {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
            or die $@;
        my $parent = $$;
        return if fork;
        select undef, undef, undef, 0.01 while getppid == $parent;
        IO::Select->new($client->socket)->can_read;
        $client->send($LARGE) or die $@ foreach 1 .. 20;
        $client->close;
    });
    is($server->line, 20, 'a child whose parent has ended closes as its parent would have');
    $server->kill('TERM');
}

# A process that forked has one descriptor more while the other lives, and none for those that ended.
SKIP: {
    -d '/proc/self/fd' or skip 'no /proc to see descriptors in', 2;
    my $count = sub { opendir my $dir, '/proc/self/fd' or die $!; return scalar grep { /\d/ } readdir $dir };
    my $server = spawn_server();
    my $empty = $count->();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@;
    my $before = $count->();
    $before{'a forked child'}->() foreach 1 .. 100;
    cmp_ok($count->(), '<=', $before + 1, 'a hundred children that ended have left at most one descriptor');
    $client->close;
    is($count->(), $empty, 'and none once the connection is closed');
    $server->kill('TERM');
}

# A program that closes every descriptor it finds, or uses the numbers for others.
{
    my $child = spawn(sub {
        my $me = shift;
        my ($server, $port) = new_server(%PLAIN);
        my $client;
        $server->setcallback(connect => sub { $client = shift });
        my $peer = raw_connect($port);
        raw_negotiate($peer, loop_of($server));
        run_until($server, sub { $client });
        $before{'a forked child'}->();
        my %mine = map { $_ => 1 } 0 .. 2, fileno $me->{in}, fileno $me->{out};
        POSIX::close($_) foreach grep { !$mine{$_} } 3 .. 200;
        pipe my $r, my $w or die $!;
        my @taken = map { POSIX::dup(fileno $r) } 1 .. 30;
        $client->close;
        $me->report(defined POSIX::dup(fileno $w) && POSIX::write(fileno $w, 'x', 1) ? 'untouched'
            : "gone: $!");
    });
    is($child->line, 'untouched', 'descriptors that got the numbers of the connection are left alone');
}

# ---- signals ----------------------------------------------------------------------------------------------

# A client of somebody who does not read, with a message under way.
sub stuck {
    my $peer = shift;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $peer->{port},
        donotcompress => 1) or die $@;
    with_alarm(sub { $client->send('x' x 50_000_000) });
    return $client;
}
{
    my $peer = spawn_peer(sub { $_[0]->hear }, version => '0.26');
    my $stuck = stuck($peer);
    is(with_alarm(sub { $stuck->close }), "alarm rang\n", 'alarm and die get out of close()');
    is($stuck->send('x'), undef, 'closed all the same');
    is($stuck->socket, undef, 'its handle too');
    is(with_alarm(sub { $stuck->close }), 'came back', 'nothing is waited for twice');
    $peer->kill;

    $peer = spawn_peer(sub { $_[0]->hear }, version => '0.26');
    $stuck = stuck($peer);
    my $rang = 0;
    {
        local $SIG{ALRM} = sub { die "enough\n" if ++$rang == 3; $stuck->close if $rang == 2; ring_soon() };
        ring_soon();
        is(eval { $stuck->close; 1 }, 1, 'a handler closes what is being closed');
        is($rang, 2, 'and that ends the wait');
        alarm 0;
    }
    $peer->kill;

    $peer = spawn_peer(sub { $_[0]->hear }, version => '0.26');
    $stuck = stuck($peer);
    $rang = 0;
    local $SIG{ALRM} = sub { $rang++ };
    ring_soon();
    my $began = time;
    undef $stuck;
    is($rang, 1, 'a signal ends the wait of an object that goes away');
    cmp_ok(time - $began, '<', 30, 'long before its time is over');
    $peer->kill;
}
{
    my ($server, $port) = new_server(%PLAIN);
    my ($asked, $rang) = (0, 0);
    $server->setcallback(data => sub { $_[0]->data; $_[0]->send('x' x 8_000_000); $asked = 1 });
    my $deaf = raw_connect($port);
    raw_negotiate($deaf, loop_of($server));
    syswrite $deaf, packet(5, 'question');
    run_until($server, sub { $asked });
    local $SIG{ALRM} = sub { $rang++ };
    ring_soon();
    my $began = time;
    undef $server;
    is($rang, 1, 'a signal ends the wait of a server that goes away');
    cmp_ok(time - $began, '<', 30, 'long before the time of a deaf client is over');
}

done_testing();
