package RandomWatches;

# Pipes that servers and clients watch. What is written into one must be read by its code, once.
#
# A watch is a hash: the ends read and write of its pipe; unread, the bytes that are in it; ended.

use strict;
use warnings;

use RandomCallbacks;
use RandomWorld;

sub world { return $RandomWorld::World }
sub pick { return $_[ rand @_ ] }

sub one {
    my $thing = RandomActions::looping() or return;
    return if $thing->{closed};
    my @open = _open($thing);
    my $watch = pick(@open);
    my $kind = rand;
    return _wrong($thing) if $kind < 0.1;
    return _begin($thing) if !@open || $kind < 0.2 && @open < 3;
    return _end($thing, $watch) if $kind < 0.6;
    return _watch($thing, $watch) if $kind < 0.7;
    return _write($thing, $watch);
}

sub _open { my $thing = shift; return grep { !$_->{ended} } @{ $thing->{watches} || [] } }

sub _write {
    my ($thing, $watch) = @_;
    world()->{model}->note("writes for a watch of $thing->{kind} $thing->{id}");
    $watch->{unread} += syswrite $watch->{write}, 'x';
    return;
}

sub _begin {
    my $thing = shift;
    pipe my $read, my $write or die "pipe: $!";
    $read->blocking(0);
    my $watch = { read => $read, write => $write, unread => 0 };
    push @{ $thing->{watches} }, $watch;
    _write($thing, $watch);
    return _watch($thing, $watch);
}

sub _watch {
    my ($thing, $watch) = @_;
    my $code = sub { _readable($thing, $watch, @_) };
    my ($done, $text) = RandomWorld::call($thing, 'watch', $watch->{read}, $code);
    return if $done;
    $watch->{ended} = 1;
    return world()->{model}->fault("watch failed: $text") if $text ne 'died';
    return;
}

sub _readable {
    my ($thing, $watch, $object, $handle) = @_;
    my $model = world()->{model};
    my $read = sysread $watch->{read}, my $bytes, 10;
    $watch->{unread} -= $read || 0;
    $model->note("    a watch of $thing->{kind} $thing->{id} is called");
    my $living = $thing->{object};
    return if !$living || $thing->{gone};    # in the loop of a dropped object it goes on
    $model->fault("a watch of $thing->{kind} $thing->{id} is called after its end") if $watch->{ended};
    $model->fault("a watch of $thing->{kind} $thing->{id} is called for others")
        if $object != $living || $handle != $watch->{read};
    return RandomCallbacks::and_more($thing->{kind} eq 'server' ? undef : $thing);
}

# By unwatch(), or with the handle: inside another event loop, unwatch() comes first.
sub _end {
    my ($thing, $watch) = @_;
    my $told = RandomActions::owner($thing)->{attached} || rand() < 0.7;
    $watch->{ended} = 1;
    RandomWorld::call($thing, 'unwatch', $watch->{read}) if $told;
    close $watch->{read} if !$told || rand() < 0.5;
    return;
}

sub _wrong {
    my $thing = shift;
    my ($done) = RandomWorld::call($thing, 'watch', 
        @{ pick([ \*STDERR, 'no code' ], [ -1, sub { } ]) });
    return $done ? world()->{model}->fault('watches what cannot be watched') : undef;
}

# The object has gone, or was closed.
sub end_all {
    my $thing = shift;
    $_->{ended} = 1 for _open($thing);
    return;
}

# Those whose bytes must still be read.
sub waiting {
    my @things = grep { $_->{object} && !$_->{gone} } RandomWorld::ends(), @{ world()->{servers} };
    return map { my $thing = $_; map { "$thing->{kind} $thing->{id} has $_->{unread} bytes to read" }
        grep { $_->{unread} } _open($thing) } @things;
}

1;
