# Servers and async clients attached to each event loop that is installed here. Each is run in a process of
# its own, as several loops in one would get in each other's way.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my $PATIENCE = 30;

# How to enter each loop: run until $done->() is true, asked every few milliseconds.
my %RUN = (
    EV => sub {
        my $done = shift;
        my $timer = EV::timer(0.01, 0.01, sub { EV::break() if $done->() });
        EV::run();
    },
    AnyEvent => sub {
        my $done  = shift;
        my $over  = AnyEvent->condvar;
        my $timer = AnyEvent->timer(after => 0.01, interval => 0.01, cb => sub { $over->send if $done->() });
        $over->recv;
    },
    'IO::Async' => sub {
        my $done = shift;
        my $loop = IO::Async::Loop->new;
        my $tick;
        $tick = sub { $done->() ? $loop->stop : $loop->watch_time(after => 0.01, code => $tick) };
        $tick->();
        $loop->run unless $done->();
    },
    Mojo => sub {
        my $done = shift;
        my $id = Mojo::IOLoop->recurring(0.01 => sub { Mojo::IOLoop->stop if $done->() });
        Mojo::IOLoop->start;
        Mojo::IOLoop->remove($id);
    },
    POE => sub {
        my $done   = shift;
        my $kernel = do { no warnings 'once'; $POE::Kernel::poe_kernel };
        POE::Session->create(inline_states => {
            _start => sub { $kernel->delay(tick => 0.01) },
            tick   => sub { $kernel->delay(tick => 0.01) if !$done->() },
        });
        $kernel->run_one_timeslice until $done->();
    },
    Tk => sub {
        my $done = shift;
        my ($window) = Tk::MainWindow::Existing();
        my $over;
        my $timer = $window->repeat(10, sub { $over = 1 if $done->() });
        Tk::DoOneEvent(0) until $over;
        $timer->cancel;
    },
    Glib => sub {
        my $done = shift;
        my $loop = Glib::MainLoop->new;
        Glib::Timeout->add(10, sub { return 1 if !$done->(); $loop->quit; 0 });
        $loop->run;
    },
    Event => sub {
        my $done = shift;
        my $timer = Event->timer(interval => 0.01, cb => sub { Event::unloop() if $done->() });
        Event::loop();
        $timer->cancel;
    },
);

my %MODULE = (
    EV => ['EV'], AnyEvent => ['AnyEvent'], 'IO::Async' => ['IO::Async::Loop'], Mojo => ['Mojo::IOLoop'],
    POE => [qw(POE::Kernel POE::Session)], Tk => ['Tk'], Glib => ['Glib'], Event => ['Event'],
);
# Loops whose run ends with an exception of a callback, or which give up the one who threw it.
my %ENDS_FOR_GOOD = (POE => 1);

sub load {
    my ($name) = @_;
    local $SIG{__WARN__} = sub { };
    for my $module (@{ $MODULE{$name} }) {
        (my $file = "$module.pm") =~ s{::}{/}g;
        return "$module is not installed" if !eval { require $file; 1 };
    }
    POE::Kernel->import if $name eq 'POE';
    return '' if $name ne 'Tk';
    return eval { MainWindow->new; 1 } ? '' : 'Tk has no display';
}

sub spawn_client {
    my ($port, $code) = @_;
    return spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
        $code->($me, $client);
    });
}

# Runs the loop until the condition holds or it is too late. Exceptions of callbacks leave some loops.
sub run_loop {
    my ($name, $condition) = @_;
    my $late = time + $PATIENCE;
    my $done = sub { $condition->() || time > $late };
    until ($done->()) { eval { $RUN{$name}->($done); 1 } or $@ =~ /^oops/ or die $@ }
    return $condition->();
}

sub echo {
    my ($name) = @_;
    my $gone = 0;
    my ($server, $port) = new_server();
    $server->setcallback(data => sub { $_[0]->send($_[0]->data) }, disconnect => sub { $gone++ });
    my $attached = $server->attach($name);
    return "attach: $@" if !$attached;
    return 'attached twice' if $server->attach($name) || $@ ne 'Already attached';
    return 'started' if $server->start || $@ ne 'start() cannot be used while attached';
    my $child = spawn_client($port, sub {
        my ($me, $client) = @_;
        for my $i (1 .. 20) { $client->send("x$i"); $client->receive eq "x$i" or die "x$i" }
        $me->report('all');
    });
    run_loop($name, sub { $gone }) or return 'no end';
    my $line = $child->line;
    return "client: $line" if $line ne 'all';
    return 'not detached' if !$server->detach;
    return 'detached twice' if $server->detach || $@ ne 'Not attached';
    return 'not attached again' if !$server->attach($name);
    return '';
}

# Of three messages of one read the first dies; the others come without more traffic.
sub dies {
    my ($name) = @_;
    my @seen;
    my ($server, $port) = new_server();
    $server->setcallback(data => sub { push @seen, my $d = $_[0]->data; die "oops\n" if $d eq 'one' });
    $server->attach($name);
    my $child = spawn_client($port, sub {
        my ($me, $client) = @_;
        $client->send($_) for qw(one two three);
        $me->hear;
    });
    local $SIG{__WARN__} = sub { warn $_[0] if $_[0] !~ /oops/ };
    my $all = run_loop($name, sub { @seen == 3 });
    $child->tell('end');
    return $all ? '' : "saw @seen";
}

our $gone;
sub Gone::DESTROY { $gone++ }

sub closed_by_timer {
    my ($name) = @_;
    my $alive = 0;
    $gone = 0;
    my ($server, $port) = new_server();
    $server->setcallback(connect => sub { $alive++ });
    $server->attach($name);
    my $child = spawn_client($port, sub {
        my ($me, $client) = @_;
        $me->report(defined $client->receive ? 'got' : 'closed');
    });
    run_loop($name, sub { $alive }) or return 'no client';
    my $forgotten = run_loop($name, sub {    # which a timer of the loop asks
        my ($client) = $server->clientlist;
        if ($client) { $client->{mine} = bless [], 'Gone'; $client->close }
        return $gone;
    });
    return 'its object still exists' if !$forgotten;
    my $line = $child->line;
    return $line eq 'closed' ? '' : "client: $line";
}

sub idles {
    my ($name) = @_;
    my $gone = 0;
    my ($server, $port) = new_server(idletimeout => 0.1);
    $server->setcallback(disconnect => sub { $gone++ });
    $server->attach($name);
    my $child = spawn_client($port, sub { $_[1]->receive });
    return run_loop($name, sub { $gone }) ? '' : 'no timeout';
}

sub dropped {
    my ($name) = @_;
    my $up = 0;
    my ($server, $port) = new_server();
    $server->setcallback(connect => sub { $up++ });
    $server->attach($name);
    my $child = spawn_client($port, sub { my ($me, $client) = @_; $client->receive; $me->report('closed') });
    run_loop($name, sub { $up }) or return 'no client';
    undef $server;
    return 'the client lives' if $child->line ne 'closed';
    my $rounds = 0;
    run_loop($name, sub { ++$rounds > 3 });
    return '';
}

# Attached by a parent, whose loop has run or not, then served by its child, as programs that become daemons
# do.
sub daemon {
    my ($name) = @_;
    foreach my $when (qw(before after)) {
        my $rounds = 0;
        my ($server, $port) = new_server();
        $server->setcallback(data => sub { $_[0]->send("$$ " . $_[0]->data) });
        $server->attach($name);
        run_loop($name, sub { ++$rounds > 3 }) if $when eq 'after';
        my $daemon = spawn(sub {
            my $me = shift;
            follow_fork();
            my $gone = 0;
            $server->setcallback(disconnect => sub { $gone++ });
            run_loop($name, sub { $gone });
            $me->report("$$ served");
        });
        my $child = spawn_client($port, sub {
            my ($me, $client) = @_;
            $client->send('who');
            $me->report($client->receive);
        });
        my ($told, $served) = ($child->line, $daemon->line);
        my $pid = $daemon->pid;
        return "$when: $told, $served" if $told ne "$pid who" || $served ne "$pid served";
    }
    return '';
}

# What some loops need in a child themselves.
sub follow_fork {
    EV::default_loop()->loop_fork if $INC{'EV.pm'};
    POE::Kernel->has_forked if $INC{'POE/Kernel.pm'};
    return;
}

# ---- clients -----------------------------------------------------------------------------------

my ($echo, %peer, @originals);

# Servers of other releases: our stand-in for them, and those that EASYTCP_PEER_LIB names.
sub start_servers {
    $echo = spawn_server();
    foreach my $version (qw(0.19 0.26)) {
        $peer{"the stand-in for $version"} = spawn_peer(
            sub {
                my ($me, $peer) = @_;
                while (defined(my $message = $peer->receive)) { $peer->send($message) or last }
            },
            version => $version
        )->{port};
    }
    foreach my $lib (grep { length } split /:/, $ENV{EASYTCP_PEER_LIB} || '') {
        my $child = spawn_original($lib, 'server');
        my $line  = $child->line;
        ($peer{"the original in $lib"}) = defined $line && $line =~ /^PORT (\d+)/ or die "no server in $lib";
        push @originals, $child;
    }
    return;
}

sub new_client {
    my ($name, $port, %o) = @_;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1, %o)
        or die $@;
    $client->attach($name) or die $@;
    return $client;
}

sub client_of {
    my ($name, $port) = @_;
    my (@seen, @events);
    my $client = new_client($name, $port);
    $client->setcallback(
        connect => sub { push @events, 'connect'; $_[0]->send('x1') },
        data    => sub { push @seen, scalar $_[0]->data; $_[0]->send('x' . (1 + @seen)) if @seen < 20 },
        error   => sub { push @events, $_[1] },
    );
    run_loop($name, sub { @seen == 20 || @events > 1 });
    return "@events: @seen" if "@events @seen" ne join ' ', 'connect', map { "x$_" } 1 .. 20;
    return '';
}

sub clients {
    my ($name) = @_;
    return client_of($name, $echo->{port});
}

sub clients_of_old_servers {
    my ($name) = @_;
    foreach my $server (sort keys %peer) {
        my $why = client_of($name, $peer{$server});
        return "$server: $why" if $why ne '';
    }
    return '';
}

sub refused {
    my ($name) = @_;
    my @seen;
    my $client = new_client($name, free_port());
    $client->setcallback(error => sub { push @seen, $_[1] });
    run_loop($name, sub { @seen });
    return "@seen" =~ /Connection refused\z/ ? '' : "@seen";
}

sub reconnects {
    my ($name) = @_;
    my @seen;
    my $server = spawn_server();
    my $client = new_client($name, $server->{port}, reconnect => [ 0.01, 0.1 ]);
    $client->setcallback(
        connect    => sub { push @seen, 'connect' },
        disconnect => sub { push @seen, 'disconnect'; $_[0]->send('kept') },
        data       => sub { push @seen, scalar $_[0]->data },
    );
    run_loop($name, sub { @seen }) or return 'no connection';
    $server->kill('KILL');
    $server->wait;
    run_loop($name, sub { @seen == 2 }) or return "@seen";
    my $again = spawn(sub {
        my $restarted = Net::EasyTCP->new(mode => 'server', port => $server->{port}) or die $@;
        $restarted->setcallback(data => sub { $_[0]->send(scalar $_[0]->data) });
        $restarted->start;
    });
    run_loop($name, sub { @seen == 4 });
    $again->kill('KILL');
    $again->wait;
    return "@seen" eq 'connect disconnect connect kept' ? '' : "@seen";
}

# Ten thousand messages to one who reads slowly, and nothing before there is no room for more.
sub drains {
    my ($name) = @_;
    my $reader = spawn_server(
        donotcompress => 1, donotencrypt => 1,
        callbacks => { connect => sub { $EasyTCPTest::Me->hear }, data => do { my $n = 0; sub {
            my $message = $_[0]->data;
            select undef, undef, undef, 0.001 if ++$n % 100 == 0;
            $_[0]->send($n) if $n == 10_000;
        } } },
    );
    my ($sent, $waited, $answer) = (0, 0);
    my $client = new_client($name, $reader->{port}, donotcompress => 1, donotencrypt => 1,
        highwater => 100_000);
    my $more = sub {
        $sent++ while $sent < 10_000 && $_[0]->send('m' x 5000);
        $reader->tell('read') if $sent < 10_000 && !$waited;
        return;
    };
    $client->setcallback(connect => $more, drain => sub {
        $waited++;
        $more->($_[0]);
    }, data => sub { $answer = $_[0]->data });
    run_loop($name, sub { defined $answer });
    $reader->kill('KILL');
    $reader->wait;
    return defined $answer && $answer == 10_000 && $waited ? '' : "sent $sent, waited $waited";
}

# A client whose process becomes a daemon before it has connected, or afterwards.
sub client_daemon {
    my ($name) = @_;
    foreach my $when (qw(before after)) {
        my ($connected, $rounds) = (0, 0);
        my $client = new_client($name, $echo->{port});
        $client->setcallback(connect => sub { $connected = 1 });
        run_loop($name, sub { $connected }) if $when eq 'after';
        my $daemon = spawn(sub {
            my $me = shift;
            my $answer;
            follow_fork();
            $client->setcallback(data => sub { $answer = $_[0]->data });
            $client->send('from a daemon');
            run_loop($name, sub { defined $answer });
            $me->report(defined $answer ? $answer : 'nothing');
        });
        my $line = $daemon->line;
        return "$when: $line" if $line ne 'from a daemon';
    }
    return '';
}

my @tests = (
    [ echo => \&echo ], [ die => \&dies ], [ 'close from a timer' => \&closed_by_timer ],
    [ idletimeout => \&idles ], [ drop => \&dropped ], [ daemon => \&daemon ],
    [ client => \&clients ], [ 'old servers' => \&clients_of_old_servers ], [ refused => \&refused ],
    [ reconnect => \&reconnects ], [ drain => \&drains ], [ 'daemon with a client' => \&client_daemon ],
);

start_servers();

for my $name (sort keys %RUN) {
    my $child = spawn(sub {
        my $me = shift;
        # IO::Async::Loop::Epoll forgets what it watches at a fork.
        local $ENV{IO_ASYNC_LOOP} = 'Poll';
        # Glib and Tk complain of a terminal or a display that is not there.
        my $missing = load($name);
        return $me->report("missing: $missing") if $missing;
        for (@tests) {
            my ($title, $code) = @$_;
            next if $title eq 'die' && $ENDS_FOR_GOOD{$name};
            my $why = eval { $code->($name) };
            $me->report("$title: " . (defined $why ? $why : "died: $@"));
        }
        $me->report('end');
    });
    my @lines = $child->rest;
    SKIP: {
        skip "$name: $lines[0]", 1 if @lines && $lines[0] =~ s/^missing: //;
        my @titles = grep { !($ENDS_FOR_GOOD{$name} && $_ eq 'die') } map { $_->[0] } @tests;
        is_deeply(\@lines, [ (map { "$_: " } @titles), 'end' ], "$name: @titles");
    }
}

# ---- without a loop ----------------------------------------------------------------------------

{
    my $child = spawn(sub {
        my $me = shift;
        my ($server) = new_server();
        $me->report($server->attach ? 'attached' : $@);
        $me->report($server->attach('Libevil') ? 'attached' : $@);
        local @INC = ();
        $me->report($server->attach('EV') ? 'attached' : $@ =~ /^(EV cannot be loaded: Can't locate EV.pm)/);
        $me->report($server->start(sub { $_[0]->stop }) ? 'started' : $@);
    });
    is_deeply(
        [ $child->rest ],
        [ 'No event loop is loaded', 'Unknown event loop Libevil', "EV cannot be loaded: Can't locate EV.pm",
            'started' ],
        'texts, after which a server is as it was'
    );
}

done_testing();
