package RandomChildren;

# Forks: children that end, close, drop, send; and some that go on living with their copies.

use strict;
use warnings;

use POSIX ();
use RandomWorld;

sub world { return $RandomWorld::World }

# Runs code in a child, and waits for it. Returns whether the code returned true.
sub _in_child {
    my ($what, $code) = @_;
    my $model = world()->{model};
    $model->note("forks: the child $what");
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        $SIG{ALRM} = 'IGNORE';
        world()->{settling} = 1;
        my $right = eval { $code->() };
        my @wrong = (length $@ ? $@ : (), @{ $model->{faults} });
        print STDERR map { "# a child that $what: $_\n" } @wrong;
        POSIX::_exit(@wrong ? 2 : $right ? 0 : 1);
    }
    local ($?, $!);
    1 while waitpid($pid, 0) < 0 && $!{EINTR};
    RandomWorld::mark('fork', RandomWorld::ends());
    $model->fault("a child that $what ended with status $?") if $? != 0 && $? != 256;
    return $? == 0;
}

# What a child can close or drop at once. Inside TLS or with a cipher a client may wait for the server's last
# packet first, and the server is its parent, which waits for it.
sub _ready { return grep { $_->{clear} && $_->{up} || $_->{kind} eq 'hybrid' } RandomWorld::ends() }

sub _close_all {
    my @objects = map { $_->{object} } _ready();
    $_->close for @objects;
    return 1;
}

sub _drop_all {
    my $world = world();
    my @all = (_ready(), @{ $world->{servers} });
    $_->{object} = undef for @all;
    return 1;
}

sub fork_one {
    my $kind = rand;
    return _in_child('ends', sub { 1 }) if $kind < 0.15;
    return child_that('closes', \&_close_all) if $kind < 0.4;
    return child_that('drops everything', \&_drop_all) if $kind < 0.65;
    return child_that_sends() if $kind < 0.85;
    return child_that_lives();
}

sub child_that {
    my ($what, $code) = @_;
    my @ends = _ready();
    _in_child($what, $code);
    world()->{model}{pairs}{'fork/close'} += @ends if $what eq 'closes';
    return;
}

# What a child sends on a connection that its parent keeps arrives like what the parent sends.
sub child_that_sends {
    my $model = world()->{model};
    my @ends = grep { $_->{clear} && $_->{up} && !$_->{closed} && !$_->{told_end} && !$_->{busy}
        && $_->{kind} =~ /client|hybrid/ && $model->outstanding($_) < 30_000 } RandomWorld::ends();
    @ends = grep { $_->{kind} eq 'client' || !$_->{object}->queued } @ends;
    my $end = RandomWorld::pick(@ends) or return;
    my $data = $model->message($end, 5000);
    my $item = $model->expect($end, $data);
    my $sent = _in_child("sends from end $end->{id}", sub { (RandomWorld::call($end, 'send', $data))[0] });
    $model->{pairs}{'fork/send'}++;
    $model->retract($end, $item) if !$sent;
    my $peer = RandomWorld::peer($end);
    return if !$peer || $peer->{closed} || $peer->{fragile} || $end->{server}{finishing};
    $model->fault('a child could not send') if !$sent;
    return;
}

# One that does nothing but live: what is closed meanwhile is closed when it ends.
sub child_that_lives {
    return if @{ world()->{children} } > 1 || world()->{ticking};
    pipe my $read, my $write or die "pipe: $!";
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        $SIG{ALRM} = 'IGNORE';
        close $write;
        close $_->{pipe} for @{ world()->{children} };
        sysread $read, my $byte, 1;
        POSIX::_exit(0);
    }
    world()->{model}->note("forks: child $pid lives on");
    push @{ world()->{children} }, { pid => $pid, pipe => $write };
    RandomWorld::let_go_shared();
    RandomWorld::mark('fork', RandomWorld::ends());
    return;
}

sub end_all {
    local ($?, $!);
    for my $child (splice @{ world()->{children} }) {
        syswrite $child->{pipe}, 'x';
        close $child->{pipe};
        1 while waitpid($child->{pid}, 0) < 0 && $!{EINTR};
    }
    return;
}

1;
