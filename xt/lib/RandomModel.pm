package RandomModel;

# What must arrive. Each end of a connection has a queue of the messages that send() took and that have not
# arrived; what arrives must be the first of the queue of the end at the other side. Which one that is is
# learnt from the messages, most of which begin with the number of their end: E7.21 is the 21st of end 7.
#
# A message of a queue is a hash:
#   sketch   what must arrive, as a text
#   bytes    about how long it is
#   lost     true: it may be lost, since an end was closed that should have got it
#   maybe    true: broadcast() took it for some of its clients, perhaps not for this one
#   arrived  true
#
# A client that connects again has one queue for all its connections. "What had left is not sent again" (the
# manual, "Clients with callbacks"): what is in the queue when a connection ends may have left with it, or
# leaves with the next, but nothing does both. What a server's end has got, but nobody has fetched, may be
# fetched when the next connection is there: such an end has the rest of the queue of that time as its "past".

use strict;
use warnings;

use IO::Handle;
use Scalar::Util qw(blessed reftype);
use Time::HiRes qw(time);

sub new {
    my $class = shift;
    my $all;
    open $all, '>:utf8', $ENV{EASYTCP_RANDOM_TRACE} or die "$ENV{EASYTCP_RANDOM_TRACE}: $!"
        if $ENV{EASYTCP_RANDOM_TRACE};
    $all->autoflush if $all;
    return bless { ends => {}, next => 0, faults => [], trace => [], calls => {}, pairs => {}, total => 0,
        thrown => {}, messages => 0, all => $all }, $class;
}

sub fault {
    my ($self, $what) = @_;
    $self->note("FAULT $what");
    push @{ $self->{faults} }, join "\n    ", $what, @{ $self->{trace} };
    return;
}

# What was done: the last of it goes with a fault, all of it into a file.
sub note {
    my ($self, $what) = @_;
    printf { $self->{all} } "%.3f %s\n", time, $what if $self->{all};
    push @{ $self->{trace} }, $what;
    shift @{ $self->{trace} } if @{ $self->{trace} } > 60;
    return;
}

# ---- messages ----------------------------------------------------------------------------------------

sub new_end {
    my ($self, $kind, %more) = @_;
    my $id = ++$self->{next};
    return $self->{ends}{$id} = { id => $id, kind => $kind, queue => [], early => [], made => 0, %more };
}

my $FILLER = join '', map { chr 32 + $_ * 7 % 90 } 1 .. 400_000;

sub _length {
    my $kind = rand;
    return $kind < 0.8 ? int rand 60 : $kind < 0.97 ? int rand 3000 : $kind < 0.997 ? int rand 60_000
        : int rand 400_000;
}

# The next message of an end. The first of a connection names the end.
sub message {
    my ($self, $end, $most) = @_;
    my $tag  = "E$end->{id}." . ++$end->{made};
    my $kind = $end->{from} ? rand : 1;
    return $kind < 0.01 ? '' : '0' if $kind < 0.02;
    my $length = _length();
    $length = $most if defined $most && $length > $most;
    my $text = substr $FILLER, rand(400_000 - $length), $length;
    return "$tag $text" if $kind >= 0.2;
    return [ $tag, { text => $text, list => [ map { $_ * 3 } 1 .. 1 + rand 8 ], none => undef } ]
        if $kind >= 0.1;
    return [ $tag, map { { number => $_, deep => [ [ [$text] ] ] } } 1 .. 2 ] if $kind >= 0.05;
    return [ $tag, bless({ text => $text }, 'RandomPlain'), bless([$text], 'RandomHooked') ];
}

sub long_message {
    my ($self, $end) = @_;
    return "E$end->{id}." . ++$end->{made} . ' ' . substr $FILLER, 0, 200_000 + rand 200_000;
}

sub sketch {
    my $data = shift;
    return 'undef' if !defined $data;
    return "'$data'" if !ref $data;
    my $name = blessed $data ? ref($data) . '=' : '';
    return $name . '[' . join(',', map { sketch($_) } @$data) . ']' if reftype $data eq 'ARRAY';
    return $name . '{' . join(',', map { "$_=" . sketch($data->{$_}) } sort keys %$data) . '}'
        if reftype $data eq 'HASH';
    return $name . '\\' . sketch($$data);
}

# Before send() is called, as the message may arrive meanwhile.
sub expect {
    my ($self, $end, $data, %more) = @_;
    my $sketch = sketch($data);
    my $item = { sketch => $sketch, bytes => length $sketch, lost => $end->{doomed}, %more };
    push @{ $end->{queue} }, $item;
    return $item;
}

# It was not taken.
sub retract {
    my ($self, $end, $item) = @_;
    my $queue = $end->{queue};
    my ($at) = grep { $queue->[$_] == $item } reverse 0 .. $#$queue;
    return $self->fault("what send() refused has arrived: end $end->{id}") if !defined $at;
    splice @$queue, $at, 1;
    return;
}

sub outstanding {
    my ($self, $end) = @_;
    my $bytes = 0;
    $bytes += $_->{bytes} for @{ $end->{queue} };
    return $bytes;
}

sub _tag {
    my $data = shift;
    my $text = ref $data && reftype $data eq 'ARRAY' ? $data->[0] : $data;
    return defined $text && $text =~ /\AE(\d+)\.\d+/ ? $1 : undef;
}

# A message has arrived at this end. One that allowclasses refuses has arrived, too.
sub arrive {
    my ($self, $to, $data) = @_;
    return $self->_arrive($to, sketch($data), _tag($data));
}

sub arrive_refused {
    my ($self, $to) = @_;
    return $self->_arrive($to, 'refused');
}

sub _arrive {
    my ($self, $to, $sketch, $id) = @_;
    my $known = $to->{from} || $to->{peer} || $id;
    push @{ $to->{early} }, $sketch;
    $self->{messages}++;
    return if !$known;
    my $from = $self->{ends}{$known} or return $self->fault("end $to->{id} got a message of nobody: $sketch");
    $self->_tell_apart($from, $to) if !$to->{past};
    return $self->_take_late($from, $to) if $to->{past};
    return $self->fault("end $known is on two connections: with $from->{peer} and $to->{id}")
        if $from->{peer} && $from->{peer} != $to->{id};
    return $self->fault("end $to->{id} got a message of end $id, but is bound to $from->{id}")
        if defined $id && $id != $from->{id};
    $self->bind($from, $to) if !$to->{from};
    return $self->_take_early($from, $to);
}

# Whether this end, or the one that was taken for the other end of $from, belongs to a connection of it that
# has ended. One that came before the end does, and who never connects again has no other one. Of two that
# came later the first does: a server takes connections in order.
sub _tell_apart {
    my ($self, $from, $to) = @_;
    my $pasts = $from->{pasts};
    return if !$pasts || !@$pasts;
    my $other = $self->{ends}{ $from->{peer} || 0 };
    return _give_past($from, $to, shift @$pasts)
        if !$to->{from} && ($to->{id} <= $pasts->[0]{last} || !$from->{reconnect});
    return if !$other || $other == $to;
    return _give_past($from, $to, shift @$pasts) if $to->{id} < $other->{id};
    _give_past($from, $other, shift @$pasts);
    $self->doom($other);
    delete @$from{qw(from peer met)};
    return;
}

sub _give_past {
    my ($from, $to, $past) = @_;
    @$to{qw(from peer)} = ($from->{id}) x 2;
    $to->{past} = $past->{items};
    shift @{ $to->{past} } while @{ $to->{past} } && $to->{past}[0]{arrived};
    return;
}

# From a connection that is over for who has sent it.
sub _take_late {
    my ($self, $from, $to) = @_;
    for my $sketch (splice @{ $to->{early} }) {
        my $item = shift @{ $to->{past} };
        $self->fault("end $to->{id} got late of end $from->{id} " . substr $sketch, 0, 40)
            if !$item || $item->{arrived} || !_is($item, $sketch);
        $item->{arrived} = 1 if $item;
    }
    return;
}

# What came before it was known of whom.
sub _take_early {
    my ($self, $from, $to) = @_;
    my @early = splice @{ $to->{early} } or return;
    my $queue = $from->{queue};
    @$queue = grep { !$_->{arrived} } @$queue;
    if (!$to->{met}++) {    # what an earlier connection has lost does not come
        shift @$queue
            while @$queue && ($queue->[0]{lost} || $queue->[0]{maybe}) && !_begins_with($queue, \@early);
    }
    $self->_take($from, $to, $_) for @early;
    return;
}

sub _is {
    my ($item, $sketch) = @_;
    return $sketch eq 'refused' ? $item->{sketch} =~ /\bRandomPlain=/ : $item->{sketch} eq $sketch;
}

# They are the two ends of one connection.
sub bind {
    my ($self, $from, $to) = @_;
    $to->{from}   = $from->{id};
    $from->{peer} = $to->{id};
    $to->{peer}   = $from->{id};
    $self->doom($to)   if $from->{closed};
    $self->doom($from) if $to->{closed};
    $self->_take_early($to, $from);
    return;
}

sub _begins_with {
    my ($queue, $list) = @_;
    my $at = 0;
    for my $sketch (@$list) {
        $at++ while $at < @$queue && $queue->[$at]{maybe} && !_is($queue->[$at], $sketch);
        return 0 if $at >= @$queue || !_is($queue->[$at], $sketch);
        $at++;
    }
    return 1;
}

sub _take {
    my ($self, $from, $to, $sketch) = @_;
    my $queue = $from->{queue};
    shift @$queue while @$queue && $queue->[0]{maybe} && !_is($queue->[0], $sketch);
    if (@$queue && _is($queue->[0], $sketch)) {
        $queue->[0]{arrived} = 1;
        return shift @$queue;
    }
    my ($at) = grep { _is($queue->[$_], $sketch) } 0 .. $#$queue;
    my $head = @$queue ? substr $queue->[0]{sketch}, 0, 40 : 'nothing';
    $self->fault("end $to->{id} of end $from->{id} got " . substr($sketch, 0, 40) . " instead of $head: "
        . (defined $at ? "$at messages are missing" : 'twice, or of nobody'));
    splice @$queue, 0, $at + 1 if defined $at;
    return;
}

# ---- what may be lost ----------------------------------------------------------------------------------

# What this end has sent on this connection, and will send on it, need not arrive any more.
sub doom {
    my ($self, $end) = @_;
    $_->{lost} = 1 for @{ $end->{queue} };
    $end->{doomed} = 1;
    return;
}

# The connection of this end is over: what it sends now is for the next one.
sub ended {
    my ($self, $end) = @_;
    $self->doom($end);
    my $peer = $self->{ends}{ $end->{peer} || 0 };
    my @items = @{ $end->{queue} };
    if ($peer) {
        $peer->{past} = \@items;
        $peer->{fragile} ||= $end->{fragile};
        $end->{fragile} = 0;
    }
    elsif (@items) { push @{ $end->{pasts} }, { items => \@items, last => $self->{next} } }
    $end->{doomed} = 0;
    delete @$end{qw(from peer met)};
    $end->{early} = [];
    return;
}

sub missing {
    my ($self, $end) = @_;
    return grep { !$_->{lost} && !$_->{maybe} } @{ $end->{queue} };
}

# ---- exceptions ----------------------------------------------------------------------------------------

sub throw {
    my $self = shift;
    my $text = 'on purpose ' . ++$self->{throws};
    $self->{thrown}{$text} = 1;
    $self->note("dies: $text");
    die "$text\n";
}

# Returns whether this was one of ours, and is caught for the first time.
sub caught {
    my ($self, $text) = @_;
    return $text =~ /\A(on purpose \d+)\n\z/ && delete $self->{thrown}{$1} ? 1 : 0;
}

1;
