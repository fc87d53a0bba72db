package RandomFacts;

# Methods that tell something, and whether it is true; and methods of other kinds of objects.

use strict;
use warnings;

use RandomWorld;

sub world { return $RandomWorld::World }
sub pick { return $_[ rand @_ ] }

sub _check {
    my ($thing, $method, $right, @arguments) = @_;
    my ($result, $text) = RandomWorld::call($thing, $method, @arguments);
    return if $text eq 'died' || $right->($result);
    $result = 'undef' if !defined $result;
    return world()->{model}->fault("$method of $thing->{kind} $thing->{id}: $result");
}

sub _is { my $value = shift; return sub { defined $_[0] && $_[0] eq $value } }

my $number = sub { defined $_[0] && $_[0] =~ /\A\d+\z/ };
my $any    = sub { 1 };
my $text   = sub { defined $_[0] && length $_[0] };

# The same each time it is asked.
sub _stays {
    my ($thing, $method) = @_;
    return sub {
        my $now = shift;
        return !defined $thing->{"was_$method"} || $thing->{"was_$method"} eq $now if defined $now;
        return !defined $thing->{"was_$method"};
    };
}

sub _stays_noted {
    my ($thing, $method) = @_;
    my $same = _stays($thing, $method);
    return sub { my $right = $same->($_[0]); $thing->{"was_$method"} = $_[0]; return $right };
}

# Open ends have one; but who has not been told yet that the other one has closed may have none any more, and
# a server that finishes closes its own. One that is dropped in its own loop still has what it delivers.
sub _socket {
    my $end = shift;
    my $peer = RandomWorld::peer($end);
    return $any if $end->{gone} || $end->{server} && !$end->{server}{object};
    return sub { !defined $_[0] } if $end->{closed};
    return $any if $end->{server}{finishing};
    return $any if $end->{kind} eq 'async' || $end->{told_end};
    return $any if !$peer || $peer->{closed} || $peer->{fragile};
    return sub { defined $_[0] };
}

my %OF_END = (
    mode       => sub { _is('client') },
    serial     => sub { _stays_noted($_[0], 'serial') },
    remoteport => sub { $_[0]{kind} eq 'async' ? $any : _stays_noted($_[0], 'remoteport') },
    remoteip   => sub { $_[0]{kind} eq 'async' ? $any
        : sub { defined $_[0] && $_[0] =~ /\A(?:unix|127\.0\.0\.1)\z/ } },
    proxyip    => sub { sub { !defined $_[0] } },
    compression => sub { $any },
    encryption => sub { $_[0]{kind} eq 'async' ? $any : _stays_noted($_[0], 'encryption') },
    fingerprint => sub { $any },
    peerfingerprint => sub { $any },
    trust      => sub { sub { !defined $_[0] || $_[0] eq 'password' } },
    pending    => sub { sub { defined $_[0] && $_[0] =~ /\A[01]\z/ } },
    socket     => \&_socket,
    stats      => sub { $_[0]{kind} =~ /hybrid|orphan/ ? $any : sub { ref $_[0] eq 'HASH' } },
);
my %MORE = (
    hybrid => { queued => sub { $number }, rooms => sub { $any } },
    async  => { queued => sub { $number }, pollfd => sub { $any }, pollhandle => sub { $any },
        polltimeout => sub { $any },
        running => sub { $any } },
);
my %OF_SERVER = (
    mode => sub { _is('server') }, serial => sub { _stays_noted($_[0], 'serial') }, clients => sub { $any },
    clientlist => sub { $any }, pollfd => sub { $number }, pollhandle => sub { sub { ref $_[0] } },
    polltimeout => sub { sub { !defined $_[0] || $_[0] >= 0 } }, running => sub { $any },
    stats => sub { sub { ref $_[0] eq 'HASH' } },
    fingerprint => sub { $any }, port => sub { $any }, localip => sub { $any },
);

sub look {
    return rand() < 0.3 ? _look_at_server() : _look_at_end();
}

sub _look_at_end {
    my $end = RandomActions::some_end() or return;
    my %facts = (%OF_END, %{ $MORE{ $end->{kind} } || {} });
    delete @facts{qw(pollfd pollhandle polltimeout running)} if $end->{gone};
    for my $method (grep { rand() < 0.5 } sort keys %facts) {
        _check($end, $method, $facts{$method}->($end));
        return if !$end->{object};
    }
    return if $end->{kind} ne 'hybrid' || $end->{closed} || $end->{told_end} || $end->{server}{finishing};
    my @rooms = sort keys %{ $end->{rooms} || {} };
    my @told = $end->{object}->rooms;
    return "@rooms" eq "@told" ? undef
        : world()->{model}->fault("rooms of end $end->{id}: @told, not @rooms");
}

sub _look_at_server {
    my $server = RandomWorld::any_server() or return;
    for my $method (grep { rand() < 0.5 } sort keys %OF_SERVER) {
        _check($server, $method, $OF_SERVER{$method}->($server));
        return if !$server->{object};
    }
    my @ends = RandomActions::listed($server);
    my $end = pick(@ends) or return;
    my ($found) = RandomWorld::call($server, 'client', $end->{object}->serial);
    world()->{model}->fault("client() finds another one than end $end->{id}")
        if !$found || $found != $end->{object};
    my $room = 'room ' . int rand 3;
    my %in = map { RandomWorld::end_of($_)->{id} => 1 } $server->{object}->room($room);
    RandomWorld::call($server, 'room', $room);
    my @wrong = grep { !!$in{ $_->{id} } ne !!$_->{rooms}{$room} } @ends;
    world()->{model}->fault("who is in $room: not so for end $wrong[0]{id}") if @wrong;
    return;
}

my %WRONG = (
    server => [qw(send receive data pending close disconnect socket compression encryption remoteip
        remoteport request joinroom leaveroom rooms trust peerfingerprint proxyip queued)],
    client => [qw(start do_one_loop process stop running clients clientlist client adopt finish broadcast
        addclientip deleteclientip setcallback pollfd pollhandle polltimeout attach detach joinroom room
        request port localip)],
    hybrid => [qw(start do_one_loop process stop running clients adopt finish broadcast addclientip stats
        request attach)],
    async  => [qw(clients adopt finish broadcast addclientip deleteclientip room joinroom port localip
        client)],
);

# A method that these objects do not have.
sub wrong_kind {
    my $thing = rand() < 0.3 ? RandomWorld::any_server() : RandomActions::some_end(qw(client hybrid async));
    return if !$thing;
    my $method = pick(@{ $WRONG{ $thing->{kind} } });
    my ($result, $text) = RandomWorld::call($thing, $method,
        $method =~ /^(?:adopt|send|broadcast)/ ? 'x' : ());
    world()->{model}->fault("$method of a $thing->{kind}: $result") if $result;
    return;
}

1;
