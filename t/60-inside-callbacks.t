# What user code may do inside each of the three callbacks: die, last, close this client or another,
# drop the server, loop again, fork, exit. Each case runs in a process of its own, so that a crash
# shows as its wait status; a bystander is connected all the time and must not notice.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use POSIX ();
use Net::EasyTCP;

use vars qw($Server $Child $Other);
my %action = (
    die => sub { die "boom\n" },
    die_object => sub { die bless { code => 42 }, 'My::Error' },
    last => sub { no warnings; last },
    last_label => sub { no warnings; last ROUND },
    next => sub { no warnings; next },
    close_self => sub { $_[0]->close },
    close_twice => sub { $_[0]->close; $_[0]->close; $_[0]->send('x') },
    close_other => sub { $Other->close if $Other },
    close_all => sub { defined && !$_->{keep} && $_->close foreach $Server->clients },
    forget_self => sub { undef $_[0] },
    vanish => sub { $_[0]->close; $Server->do_one_loop foreach 1 .. 3; undef $_[0] },
    replace_self => sub { $_[0]->close; $Server->do_one_loop foreach 1 .. 3; $_[0] = $Other },
    stop => sub { $Server->stop },
    loop => sub { $Server->do_one_loop foreach 1 .. 5 },
    start => sub { my $n = 0; $Server->start(sub { $Server->stop if ++$n == 5 }) },
    callbacks => sub { $Server->setcallback(connect => sub { }, disconnect => sub { }) },
    fork_exit => sub {
        my $pid = fork;
        if (!$pid) {
            $EasyTCPTest::Watchdog = undef;
            exit 3;
        }
        waitpid $pid, 0;
        $Child->report('forked ' . ($? >> 8) . ' ' . ($? & 127));
    },
    fork_die => sub {
        my $pid = fork;
        if (!$pid) {
            open STDERR, '>', '/dev/null';
            $SIG{__DIE__} = 'DEFAULT';
            undef $Server;
            POSIX::_exit(4);
        }
        waitpid $pid, 0;
        $Child->report('forked ' . ($? >> 8) . ' ' . ($? & 127));
    },
    fork_close => sub {
        my $pid = fork;
        if (!$pid) {
            $_[0]->close;
            defined && $_->close foreach $Server->clients;
            undef $Server;
            POSIX::_exit(5);
        }
        waitpid $pid, 0;
        $Child->report('forked ' . ($? >> 8) . ' ' . ($? & 127));
    },
    undef_globals => sub { local $_ = 'changed'; $_[0]{note} = $_; %{ $_[0]{deep} } = (a => [1]) },
    change_topic => sub { $_ = 'assigned' },
    delete_keys => sub { delete $_[0]{$_} foreach grep { !/^(keep|name)$/ } keys %{ $_[0] } },
    empty_hash => sub { %{ $_[0] } = (keep => $_[0]{keep}) },
    send_much => sub { $_[0]->send('y' x 1000) foreach 1 .. 200 },
    sort_block => sub { my @x = sort { $a <=> $b } 3, 1, 2; my @y = map { $_ * 2 } @x },
    eval_string => sub { eval 'die "inner\n"'; eval { die "inner\n" } },
    local_error => sub { local $@ = 'x'; local $! = 5 },
);

sub serve {
    my ($event, $action) = @_;
    my ($port, $armed, $finished);
    ($Server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    local $SIG{__WARN__} = sub { };
    my $maybe = sub {
        my ($name) = @_;
        return unless $armed && $name eq $event;
        $armed = 0;
        $Child->report("doing $name");
        return 1;
    };
    $Server->setcallback(
        connect => sub { $action{$action}->(@_) if $maybe->('connect') },
        data => sub {
            my $client = $_[0];
            my $data = $client->data;
            return unless defined $data;
            if ($data eq 'keep') { $client->{keep} = 1 }
            if ($data eq 'other') { $Other = $client }
            if ($data eq 'arm') { $armed = 1 }
            if ($data eq 'finish') { $finished = 1; $Server->stop }
            if ($data ne 'now') { $client->send($data); return }
            $action{$action}->(@_) if $maybe->('data');
        },
        disconnect => sub { $action{$action}->(@_) if $maybe->('disconnect') },
    );
    $Child->report("PORT $port");
    ROUND: while (!$finished) {
        my $ok = eval { $Server->start; 1 };
        my $why = $@;
        if (!$ok) {
            $why = ref $why ? ref($why) . " $why->{code}" : $why;
            $Child->report("died: $why, running: " . $Server->running);
        }
    }
    continue {
        # last and next of a callback end up here when they get that far
    }
    while (!$finished) { eval { $Server->start } }
    $Child->report('finished');
    return;
}

foreach my $event (qw(connect data disconnect)) {
    foreach my $action (sort keys %action) {
        my $name = "$action in $event";
        $Child = undef;
        my $child = spawn(sub { $Child = shift; serve($event, $action) });
        my ($port) = $child->line =~ /^PORT (\d+)/ or BAIL_OUT('no server');
        my $bystander = OldPeer->client(version => '0.19', port => $port) or BAIL_OUT(OldPeer->error);
        my $other = OldPeer->client(version => '0.19', port => $port) or BAIL_OUT(OldPeer->error);
        my $actor = $event eq 'connect' ? undef : OldPeer->client(version => '0.19', port => $port);
        my $exchange = sub {
            my ($peer, $text) = @_;
            $peer->send($text);
            my $back = eval { $peer->receive };
            return defined $back && $back eq $text;
        };
        my $lost = 0;
        $exchange->($bystander, 'keep') or $lost++;
        $exchange->($other, 'other') or $lost++;
        $exchange->($bystander, 'arm') or $lost++;
        $actor = OldPeer->client(version => '0.19', port => $port) if $event eq 'connect';
        eval { $actor->send('now') } if $event eq 'data';
        $actor->close if $event eq 'disconnect';
        my $report = $child->line;
        is($report, "doing $event", "$name: done") or do { $child->kill; next };

        # The bystander and somebody new are served as if nothing had happened.
        $exchange->($bystander, "ping $_") or $lost++ foreach 1 .. 3;
        my $new = OldPeer->client(version => '0.19', port => $port);
        ok($new && $exchange->($new, 'new'), "$name: new clients are served");
        $exchange->($bystander, 'finish') or $lost++;
        is($lost, 0, "$name: others lost nothing");
        my @rest = $child->rest;
        is($rest[-1], 'finished', "$name: the loop can be entered again and stopped");
        is($child->wait, 0, "$name: no crash");
        if ($action eq 'die') {
            is($rest[0], "died: boom\n, running: 1", "$name: the exception comes out of start() as it was");
        }
        elsif ($action eq 'die_object') {
            is($rest[0], 'died: My::Error 42, running: 1', "$name: the object comes out of start()");
        }
        elsif ($action =~ /^(?:next|last)/) {
            # They must not jump over the loop, which would wake up later with its work half done.
            like($rest[0],
                qr/^died: (?:Can't "$action" outside a loop block|Label not found for "last ROUND") /,
                "$name: does not leave the loop");
        }
        elsif ($action =~ /^fork_/) {
            my %code = (fork_exit => 3, fork_die => 4, fork_close => 5);
            is($rest[0], "forked $code{$action} 0", "$name: the child ends as it wanted");
        }
        if ($event eq 'disconnect' && $action =~ /^die/) {
            is(scalar(grep { /^died/ } @rest), 1, "$name: the callback is not called again");
        }
    }
}

# Dropping the last reference to the server inside a callback. Driven by do_one_loop() it is gone
# afterwards; start() keeps what it serves.
foreach my $event (qw(connect data disconnect)) {
    foreach my $how (qw(do_one_loop start)) {
        my $name = "undef of the server in $event under $how";
        my $child = spawn(sub {
            my $me = shift;
            my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
            my $armed = 0;
            my $drop = sub {
                return unless $armed && $_[0] eq $event;
                $armed = 0;
                undef $server;
                $me->report('dropped');
            };
            $server->setcallback(
                connect => sub { $drop->('connect') },
                data => sub {
                    my $d = $_[0]->data;
                    return $drop->('data') if $d eq 'now';
                    $armed = 1 if $d eq 'arm';
                    $_[0]->send($d);
                },
                disconnect => sub { $drop->('disconnect') },
            );
            $me->report("PORT $port");
            if ($how eq 'start') {
                $server->start;
                die "start() came back\n";
            }
            while ($server) { $server->do_one_loop }
            my $again = Net::EasyTCP->new(mode => 'server', port => $port);
            $me->report($again ? 'port free' : "port: $@");
        });
        my ($port) = $child->line =~ /^PORT (\d+)/;
        my $bystander = OldPeer->client(version => '0.19', port => $port);
        $bystander->send('arm');
        is($bystander->receive, 'arm', "$name: armed");
        my $actor = OldPeer->client(version => '0.19', port => $port);
        eval { $actor->send('now') } if $event eq 'data';
        $actor->close if $event eq 'disconnect';
        is($child->line, 'dropped', "$name: done");
        if ($how eq 'start') {
            $bystander->send('ping');
            is($bystander->receive, 'ping', "$name: clients are still served");
            ok(!$child->ended, "$name: no crash");
            $child->kill;
            next;
        }
        is_deeply([ $child->rest ], ['port free'], "$name: its port is free");
        ok(!defined eval { $bystander->receive }, "$name: clients see the end");
        is($child->wait, 0, "$name: no crash");
    }
}

# exit and an uncaught die inside callbacks: what was sent before arrives, the status is right.
foreach my $event (qw(connect data disconnect)) {
    foreach my $how (qw(exit die)) {
        my $child = spawn(sub {
            my $me = shift;
            open STDERR, '>', '/dev/null';
            my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
            my ($armed, $bystander) = (0);
            my $leave = sub {
                my $name = shift;
                return unless $armed && $name eq $event;
                $bystander->send("last words $_ " . 'z' x 1000) foreach 1 .. 500;
                $me->report('leaving');
                if ($how eq 'die') {
                    # spawn() would catch it: leave as a script does that nobody catches
                    eval { die "uncaught\n" };
                    exit 255;
                }
                exit 7;
            };
            $server->setcallback(
                connect => sub { $leave->('connect') },
                data => sub {
                    my $d = $_[0]->data;
                    $leave->('data') if $d eq 'now';
                    $armed = 1;
                    $bystander = $_[0];
                    $_[0]->send($d);
                },
                disconnect => sub { $leave->('disconnect') },
            );
            $me->report("PORT $port");
            $server->start;
        });
        my $name = "$how in $event";
        my ($port) = $child->line =~ /^PORT (\d+)/;
        my $bystander = OldPeer->client(version => '0.19', port => $port);
        $bystander->send('arm');
        $bystander->receive;
        my $actor = OldPeer->client(version => '0.19', port => $port);
        eval { $actor->send('now') } if $event eq 'data';
        $actor->close if $event eq 'disconnect';
        is($child->line, 'leaving', "$name: done");
        my $right = 0;
        foreach my $n (1 .. 500) {
            my $got = eval { $bystander->receive };
            $right++ if defined $got && $got eq "last words $n " . 'z' x 1000;
        }
        is($right, 500, "$name: what was sent before arrives");
        ok(!defined eval { $bystander->receive }, "$name: then the end");
        is($child->wait, ($how eq 'exit' ? 7 : 255) << 8, "$name: the exit status");
    }
}

done_testing();
