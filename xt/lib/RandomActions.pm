package RandomActions;

# What a program may do with its objects, each action with its weight. act() does one of them by chance; where
# it is called by a callback, $near is the end that the callback is about, which is chosen more often.

use strict;
use warnings;

use POSIX ();
use RandomCallbacks;
use RandomChildren;
use RandomFacts;
use RandomMake;
use RandomWatches;
use RandomWorld;
use Time::HiRes qw(setitimer time ITIMER_REAL);

my @ACTIONS = (
    [ 26,  \&turn ],              [ 22,  \&send_one ],    [ 12,  \&receive_one ],
    [ 8,   \&RandomFacts::look ],
    [ 2.2, \&new_client ],        [ 3,   \&new_async ],   [ 0.6, \&new_server ],  [ 1.6, \&close_one ],
    [ 1.4, \&drop_one ],          [ 0.7, \&RandomChildren::fork_one ], [ 2, \&broadcast ], [ 2, \&rooms ],
    [ 3,   \&request ],           [ 0.8, \&callbacks ],   [ 2,   \&attach ],
    [ 0.8, \&RandomMake::wrong ],
    [ 1,   \&RandomFacts::wrong_kind ], [ 0.3, \&finish ], [ 0.5, \&addresses ], [ 1,  \&unsendable ],
    [ 0.6, \&interrupted ],       [ 0.5, \&stop ],        [ 0.5, \&hold_or_not ],
    [ 3,   \&RandomWatches::one ],
);
my $ALL = 0;
$ALL += $_->[0] for @ACTIONS;
our $Near;

sub world { return $RandomWorld::World }
sub pick { return $_[ rand @_ ] }

sub act {
    local $Near = shift;
    my $at = rand $ALL;
    for my $action (@ACTIONS) {
        $at -= $action->[0];
        return $action->[1]->() if $at < 0;
    }
    return;
}

# An end: the one at hand, or any of these kinds.
sub some_end {
    my @kinds = @_;
    my $near = $Near;
    return $near if $near && $near->{object} && !$near->{busy} && rand() < 0.5
        && (!@kinds || grep { $_ eq $near->{kind} } @kinds);
    return RandomWorld::any_end(@kinds);
}

# ---- loops -----------------------------------------------------------------------------------------------

# Whoever has a loop, or is in one.
sub looping {
    my @all = (grep({ $_->{object} } @{ world()->{servers} }),
        grep { $_->{kind} eq 'async' && !$_->{gone} } RandomWorld::ends());
    return @all ? pick(@all) : undef;
}

sub owner { my $thing = shift; return $thing->{host} || $thing }

sub turn {
    my $thing = shift || looping() or return;
    return if world()->{depth} > 3;
    local world()->{depth} = world()->{depth} + 1;
    my $kind = rand;
    return with_loop() if owner($thing)->{attached} && $kind < 0.5;
    return start($thing) if $kind < 0.15 && !$thing->{starting};
    return RandomWorld::call($thing, 'do_one_loop', 0.001) if $kind < 0.4;
    return RandomWorld::call($thing, 'process', rand() < 0.2 ? 0.001 : ());
}

sub with_loop {
    my $model = world()->{model};
    return if eval { EV::once(); 1 } || $model->caught($@);
    return $model->fault("an exception out of an event loop: $@");
}

sub start {
    my $thing = shift;
    my $left = 1 + int rand 3;
    local $thing->{starting} = 1;
    my $idle = sub {
        return $_[0]->stop if !$thing->{object};    # a callback has dropped it, and the loop goes on
        RandomWorld::call($thing, 'stop') if --$left <= 0;
    };
    my ($done, $text) = RandomWorld::call($thing, 'start', $idle);
    world()->{model}->fault("start failed: $text")
        if !$done && $text ne 'died' && $text !~ /attached|loop of this client/;
    return;
}

sub stop {
    my $thing = looping() or return;
    return RandomWorld::call($thing, 'stop');
}

sub attach {
    my $thing = looping() or return;
    my $owner = owner($thing);
    return if !$owner->{object};
    if ($owner->{attached} && rand() < 0.7) {
        my ($done, $text) = RandomWorld::call($owner, 'detach');
        $done ? $owner->{attached} = 0 : world()->{model}->fault("detach failed: $text");
        return;
    }
    my ($done, $text) = RandomWorld::call($owner, 'attach', pick('EV', EV::default_loop(), 'Libevil'));
    $owner->{attached} = 1 if $done;
    world()->{model}->fault("attach failed: $text")
        if !$done && $text !~ /^(?:Unknown event loop|Already attached)/;
    return;
}

# ---- messages --------------------------------------------------------------------------------------------

sub send_one {
    my $end = some_end() or return;
    my $many = rand() < 0.1 ? int rand 40 : 1;
    RandomWorld::send_from($end) for 1 .. $many;
    return;
}

sub receive_one {
    my $end = some_end(rand() < 0.8 ? qw(client orphan) : ()) or return;
    my $seconds = pick(-1, -1, -0.5, 0.0001);
    RandomWorld::receive($end, $seconds) || return for 1 .. 1 + rand 4;
    return;
}

my @UNSENDABLE = (sub { undef }, sub { "\x{263a}" }, sub { [ sub { } ] }, sub { { glob => \*STDOUT } });

sub unsendable {
    my $end = some_end() or return;
    my $data = pick(@UNSENDABLE)->();
    my ($sent) = RandomWorld::call($end, 'send', $data);
    return $sent ? world()->{model}->fault('sent what cannot be sent') : undef;
}

# A wait that a signal's handler leaves.
sub interrupted {
    my $end = some_end(qw(client orphan)) or return;
    return if !RandomWorld::may_wait() || $end->{told_end} || $end->{closed};
    my $model = world()->{model};
    my $peer = RandomWorld::peer($end) or return;
    return if @{ $peer->{queue} };    # or it might be received when the handler runs, and lost by this test
    local world()->{ticking} = 1;
    local $end->{busy} = 1;
    my $waits = 0;
    local $SIG{ALRM} = sub { RandomWorld::mark('die', $end); $model->throw if $waits };
    my $done = eval {
        $waits = 1;
        setitimer(ITIMER_REAL, 0.002);
        RandomWorld::receive($end, 0.01);
        $waits = 0;
        1;
    };
    my $text = $@;
    $waits = 0;
    setitimer(ITIMER_REAL, 0);
    $model->fault("an exception out of receive: $text") if !$done && !$model->caught($text);
    return;
}

sub broadcast {
    my $server = RandomWorld::any_server() or return;
    my $model = world()->{model};
    my $data = 'B' . ++world()->{broadcasts} . ' ' . 'b' x rand 2000;
    my @ends = listed($server);
    my @some = grep { rand() < 0.5 } @ends;
    my $room = 'room ' . int rand 3;
    my $kind = int rand 4;
    my @to = $kind == 0 ? () : $kind == 1 ? (to => [ map { $_->{object} } @some ])
        : $kind == 2 ? (except => [ map { $_->{object} } @some ]) : (room => $room);
    my %some = map { $_->{id} => 1 } @some;
    @ends = grep { $kind == 0 || ($kind == 3 ? $_->{rooms}{$room} : $some{ $_->{id} } xor $kind == 2) } @ends;
    my ($count, $text) = RandomWorld::call($server, 'broadcast', $data, @to);
    return $model->fault("broadcast failed: $text") if !defined $count;
    return $model->fault("broadcast to $count of " . @ends) if $count > @ends;
    my %left = map { $_->{id} => 1 } @ends;
    delete @left{ map { $_->{id} } listed($server) };
    RandomWorld::break_off($_) for grep { $left{ $_->{id} } } @ends;
    $model->expect($_, $data, maybe => $count < @ends) for @ends;
    return;
}

# The ends of the clients of a server, which must be known.
sub listed {
    my $server = shift;
    RandomWorld::call($server, pick(qw(clients clientlist)));
    my @ends;
    for my $object ($server->{object}->clientlist) {
        my $end = RandomWorld::end_of($object);
        push @ends, $end if $end;
        world()->{model}->fault("a client of server $server->{id} that never came") if !$end;
        world()->{model}->fault("a client that was closed is listed: $end->{id}")
            if $end && $end->{closed} && !$end->{fragile};
    }
    return @ends;
}

my $requests = 0;

sub request {
    my $end = some_end('async') or return;
    return if $end->{forbids} && rand() < 0.9;
    my $model  = world()->{model};
    my $most   = RandomWorld::most_from($end);
    return if defined $most && $most < 1000;
    my $data   = $model->message($end, $most);
    my $number = ++$requests;
    my $code   = RandomCallbacks::for_request($end, $number);
    my $method = pick(qw(request request request_p request_f));
    my $item   = $model->expect($end, $data);
    push @{ $end->{requests} }, $number;
    my ($sent, $text) = RandomWorld::call($end, $method, $data, 
        $method eq 'request' ? $code : (), timeout => 600);
    if ($method ne 'request' && $sent) {
        return $sent->finally_call($code) if !$sent->{end};
        ($sent, $text) = (undef, $sent->{end}[1]);
    }
    return if $sent;
    $end->{requests} = [ grep { $_ != $number } @{ $end->{requests} } ];
    RandomWorld::break_off($end) if RandomWorld::_is_full_and_closed($end, $text);
    $model->retract($end, $item);
    return;
}

# ---- objects come and go -----------------------------------------------------------------------------------

sub new_server { return RandomMake::server() if grep({ $_->{object} } @{ world()->{servers} }) < 3; return }

sub _is_crowded { return RandomWorld::ends() > 30 }

sub new_client {
    my $server = RandomWorld::any_server() or return RandomMake::server();
    return _is_crowded() ? close_one() : RandomMake::client($server);
}

sub new_async {
    my $server = RandomWorld::any_server() or return;
    return _is_crowded() ? drop_one() : RandomMake::async($server);
}

sub close_one {
    my $end = some_end() or return;
    return close_end($end);
}

# More than the system takes at once, for a loop to deliver after the end was closed.
sub _send_much {
    my $end = shift;
    return if !$end->{up} || $end->{closed} || world()->{settling} || defined RandomWorld::most_from($end);
    RandomWorld::send_from($end, world()->{model}->long_message($end)) || return for 1 .. 1 + rand 4;
    return;
}

sub close_end {
    my $end = shift;
    my $waits = $end->{kind} =~ /client|orphan/;
    return if $waits && !RandomWorld::may_wait();
    _send_much($end) if rand() < 0.3;
    RandomWorld::let_go($end);
    local $end->{busy} = 1;
    my $method = pick(qw(close disconnect));
    my ($done, $text) = $waits ? RandomWorld::with_timer(sub { RandomWorld::call($end, $method) })
        : RandomWorld::call($end, $method);
    world()->{model}->fault("close failed: $text") if !$done && $text ne 'died';
    return;
}

# Whether nothing of it would have to be waited for: who should read it cannot, while this process waits. What
# is not connected yet may be so before the loop that it is dropped in returns, and be sent then.
sub is_calm {
    my $end = shift;
    my $kept = RandomWorld::KEPT();
    my $looped = $end->{kind} =~ /hybrid|async/ && $end->{object} && !$end->{gone};
    my $queued = $looped ? $end->{object}->queued : 0;
    return $queued < $kept if $end->{kind} eq 'async' && !$end->{up} && !$end->{closed};
    return 1 if $end->{gone} || $end->{told_end} && !$end->{reconnect};
    return 0 if $queued;
    my $peer = RandomWorld::peer($end);
    return 1 if $peer && $peer->{told_end} || grep { $_ && _is_over($_) } $end, $peer;
    return world()->{model}->outstanding($end) < $kept;
}

# Whether its close() has done all: in a loop that may take some rounds, in which the others read, too.
sub _is_over {
    my $end = shift;
    return 0 if !$end->{closed};
    return 1 if $end->{kind} =~ /client|orphan/;
    return world()->{settling} && time > $end->{closed} + 1;
}

sub drop_one {
    return drop_server() if rand() < 0.15;
    my $end = some_end(qw(client async orphan)) or return;
    return drop_end($end);
}

# Who is or was in the loop of this one: what they have sent goes on in it even when they were dropped.
sub _guests {
    my $host = shift;
    return grep { $_->{host} && $_->{host} == $host } values %{ world()->{model}{ends} };
}

sub drop_end {
    my $end = shift;
    return 0 if !is_calm($end) && !$end->{host};
    my @guests = _guests($end);
    return 0 if grep { !is_calm($_) } @guests;
    RandomWorld::let_go($end);
    lose_loop($_) for grep { $_->{object} } @guests;
    world()->{model}->note("drops $end->{kind} $end->{id}");
    $end->{requests} = [];
    $end->{object} = undef;
    return 1;
}

# The object in whose loop this one was is gone.
sub lose_loop {
    my $end = shift;
    RandomWorld::break_off($end);
    RandomWorld::let_go($end);
    @$end{qw(gone up)} = (1, 0);
    return;
}

# The server of this one was dropped: "connections whose hybrid objects the program holds ... go on as clients
# do" (the manual, "OBJECTS").
sub lose_server {
    my $end = shift;
    $end->{held} ? $end->{kind} = 'orphan' : RandomWorld::let_go($end);
    return;
}

sub drop_server {
    my $server = shift || RandomWorld::any_server() or return 0;
    my @hybrids = grep { $_->{kind} eq 'hybrid' && $_->{server} == $server }
        values %{ world()->{model}{ends} };
    my @guests = grep { $_->{object} } _guests($server);
    my ($stats) = RandomWorld::call($server, 'stats');
    return 0 if $stats->{queued} || $stats->{closing} || 
        grep { $_->{object} && !is_calm($_) } @hybrids, @guests;
    lose_server($_) for grep { $_->{object} } @hybrids;
    lose_loop($_) for @guests;
    world()->{model}->note("drops server $server->{id}");
    $server->{object} = undef;
    return 1;
}

# Programs keep objects of clients, or do not.
sub hold_or_not {
    my $end = some_end('hybrid') or return;
    my $object = $end->{object};
    $end->{held} = !$end->{held};
    $end->{object} = $object;
    Scalar::Util::weaken($end->{object}) if !$end->{held};
    return;
}

sub finish {
    my $server = RandomWorld::any_server() or return;
    @$server{qw(finishing unknown where)} = (1, 1, undef);
    RandomWorld::let_go_shared();
    return RandomWorld::call($server, 'finish', pick(0, 0.05));
}

# ---- the rest ----------------------------------------------------------------------------------------------

sub callbacks {
    my $thing = looping() or return;
    my %all = $thing->{kind} eq 'server' ? RandomCallbacks::for_server($thing) : RandomCallbacks::for_async();
    my @names = grep { rand() < 0.5 } sort keys %all;
    my ($set, $text) = RandomWorld::call($thing, pick(qw(setcallback callback)),
        map { $_ => $all{$_} } @names);
    world()->{model}->fault("setcallback failed: $text") if !$set && $text ne 'died' && !$thing->{gone};
    ($set, $text) = RandomWorld::call($thing, 'setcallback', data => 'no code') if rand() < 0.2;
    return;
}

sub rooms {
    my $end = some_end('hybrid') or return;
    my @names = map { 'room ' . int rand 3 } 1 .. 1 + rand 2;
    if (rand() < 0.4) {
        RandomWorld::call($end, 'leaveroom', @names);
        delete @{ $end->{rooms} }{@names};
        return;
    }
    my ($in, $text) = RandomWorld::call($end, 'joinroom', @names);
    @{ $end->{rooms} }{@names} = (1) x @names if $in;
    world()->{model}->fault("joinroom failed: $text")
        if !$in && $text ne 'died' && !$end->{closed} && !$end->{told_end} && $text ne 'Client not connected';
    return;
}

sub addresses {
    my $server = RandomWorld::any_server() or return;
    my $network = '10.' . int(rand 4) . '.0.0/16';
    RandomWorld::call($server, 'addclientip', '127.0.0.0/8', 'unix', $network);
    RandomWorld::call($server, 'deleteclientip', $network);
    RandomWorld::call($server, pick(qw(addclientip deleteclientip)), 'no/network') if rand() < 0.3;
    return;
}

1;
