# fork: a child may drop, close or destroy its copies, or just end, without disturbing its parent; it
# may serve; it may take over one connection.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use POSIX ();
use Net::EasyTCP;

sub forked {
    my $code = shift;
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    return $pid if $pid;
    eval { $code->() };
    POSIX::_exit($@ ? 1 : 0);
}

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
my (%count, @objects);
$server->setcallback(
    connect => sub { $count{connect}++; push @objects, $_[0] },
    data => sub { my $d = $_[0]->data; $_[0]->send("re $d") },
    disconnect => sub { $count{disconnect}++ },
);
my $idle = loop_of($server);
my @peers = map { OldPeer->client(version => '0.19', port => $port, idle => $idle) } 1 .. 3;
run_until($server, sub { $count{connect} == 3 });

sub undisturbed {
    my $name = shift;
    foreach my $n (0 .. $#peers) {
        $peers[$n]->send("$name $n");
        is($peers[$n]->receive, "re $name $n", "$name: peer $n is served");
    }
    ok(!$count{disconnect}, "$name: nobody was disconnected");
    my $new = OldPeer->client(version => '0.19', port => $port, idle => $idle);
    ok($new, "$name: new clients are accepted");
    $new->close;
    run_until($server, sub { $count{disconnect} });
    $count{disconnect} = 0;
    return;
}

my %child_does = (
    'ends at once'            => sub { },
    'exits'                   => sub { $EasyTCPTest::Watchdog = undef; exit 0 },
    'drops the server'        => sub { undef $server },
    'drops everything'        => sub { undef $server; @objects = (); },
    'closes every client'     => sub { $_->close foreach @objects },
    'closes, then drops'      => sub { $_->close foreach @objects; @objects = (); undef $server },
    'closes the handles'      => sub { close $_ foreach grep { defined } map { $_->socket } @objects },
    'loops a little'          => sub { $server->do_one_loop foreach 1 .. 3 },
    'loops, then closes'      => sub {
        $server->do_one_loop;
        $_->close foreach @objects;
        $server->do_one_loop;
    },
    'stops'                   => sub { $server->stop },
    'makes its own server'    => sub { my ($own) = new_server(); $own->do_one_loop; },
);
foreach my $what (sort keys %child_does) {
    my $pid = forked($child_does{$what});
    waitpid $pid, 0;
    is($?, 0, "a child that $what: ends well");
    undisturbed("a child that $what");
}

# A child of a child.
{
    my $pid = forked(sub {
        my $grandchild = forked(sub { undef $server; @objects = () });
        waitpid $grandchild, 0;
        $server->do_one_loop;
        $_->close foreach @objects;
    });
    waitpid $pid, 0;
    undisturbed('a child with a child');
}

# The child takes the connection over: it talks, the parent closes its copy and goes on.
{
    my $taken;
    $server->setcallback(connect => sub {
        my $client = shift;
        my $pid = fork;
        if (!$pid) {
            $client->send('child here');
            my $name = $client->receive(60);
            $client->send("hello $name from a child");
            $client->close;
            POSIX::_exit(0);
        }
        $client->close;
        $taken = $pid;
    });
    my $peer = OldPeer->client(version => '0.19', port => $port, idle => $idle);
    is($peer->receive, 'child here', 'a child takes over a connection');
    $peer->send('Ann');
    is($peer->receive, 'hello Ann from a child', 'and talks although the parent closed its copy');
    ok(!defined $peer->receive, 'until it closes');
    waitpid $taken, 0;
    is($?, 0, 'it ends well');
    $server->setcallback(connect => sub { $count{connect}++ });
    undisturbed('taking over');
}

# The child sends on a connection that the parent keeps.
{
    my ($client) = $server->clients;
    my ($its_peer) = grep { $_->socket->sockport == $client->remoteport } @peers;
    my $pid = forked(sub { $client->send('from the child') or die $@ });
    waitpid $pid, 0;
    is($its_peer->receive, 'from the child', 'a child sends on a shared connection');
    $its_peer->send('then');
    is($its_peer->receive, 're then', 'and the parent goes on');
}

# Daemonise after new(): the parent goes, the child serves.
{
    my $child = spawn(sub {
        my $me = shift;
        my ($daemon, $daemon_port) = new_server();
        $daemon->setcallback(data => sub { $_[0]->send('daemon ' . $_[0]->data) });
        my $pid = fork;
        if (!$pid) {
            $me->report("PORT $daemon_port $$");
            $daemon->start;
            POSIX::_exit(0);
        }
        exit 0;
    }, normal_exit => 1);
    my ($daemon_port, $pid) = $child->line =~ /^PORT (\d+) (\d+)/;
    waitpid $child->pid, 0;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $daemon_port);
    ok($client, 'a server that went to the background accepts') or diag $@;
    $client->send('works');
    is($client->receive, 'daemon works', 'and serves');
    kill 'KILL', $pid;
}

# Several children serve one listening socket.
{
    my ($shared, $shared_port) = new_server(donotencrypt => 1, donotcompress => 1);
    $shared->setcallback(data => sub { $_[0]->data; $_[0]->send($$) });
    my @workers = map { spawn(sub { $_[0]->report('up'); $shared->start }) } 1 .. 3;
    $_->line foreach @workers;
    my %pid;
    my $wrong = 0;
    foreach (1 .. 30) {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $shared_port)
            or $wrong++, next;
        $client->send('who');
        my $who = $client->receive;
        $pid{ defined $who ? $who : 'none' }++;
        $client->close;
    }
    is($wrong, 0, 'three children serve one port');
    my %known = map { $_->pid => 1 } @workers;
    is(scalar(grep { !$known{$_} } keys %pid), 0, 'and nobody else answers');
    $_->kill foreach @workers;
}

# A client object in parent and child.
{
    my $echo = spawn_server();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or die $@;
    foreach my $what ([ 'drops' => sub { undef $client } ], [ 'closes' => sub { $client->close } ],
        [ 'ends' => sub { } ]) {
        my $pid = forked($what->[1]);
        waitpid $pid, 0;
        $client->send("after $what->[0]");
        is($client->receive, "after $what->[0]",
            "a child that $what->[0] its copy of a client leaves the parent's alone");
    }
    my $pid = forked(sub {
        $client->send('by the child') or die $@;
        $client->receive eq 're' or 1;
    });
    waitpid $pid, 0;
    is($?, 0, 'a child may use a client instead of its parent');
    $client->close;
    $echo->kill('TERM');
}

done_testing();
