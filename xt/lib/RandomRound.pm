package RandomRound;

# One round: a world begins, random actions happen to it, everything arrives, and it ends without a trace.

use strict;
use warnings;

use RandomActions;
use RandomModel;
use RandomStandIns;
use RandomWorld;
use Time::HiRes qw(time);

my $PATIENCE = 20;    # seconds until what must arrive is missing

# A stretch of random actions, with a new model. Returns the model.
sub run {
    my ($seed, $directory, $actions) = @_;
    srand $seed;
    my $model = RandomModel->new;
    local $RandomWorld::World = RandomWorld->new($model, $directory);
    local $SIG{__WARN__} = sub { $model->fault("a warning: $_[0]") };
    local $SIG{PIPE} = 'IGNORE';
    RandomMake::server();
    for (1 .. $actions) {
        RandomActions::act();
        last if @{ $model->{faults} };
    }
    settle($model) && end_all($model) if !@{ $model->{faults} };
    RandomChildren::end_all();
    forget($model);
    return $model;
}

# ---- everything arrives --------------------------------------------------------------------------------

sub _owners {
    my @servers = grep { $_->{object} } @{ $RandomWorld::World->{servers} };
    return @servers, grep { $_->{kind} eq 'async' && !$_->{host} } RandomWorld::ends();
}

sub _is_unsure {
    my $end = shift;
    my $peer = RandomWorld::peer($end);
    return 1 if $end->{fragile} || $peer && $peer->{fragile};
    return 1 if $peer && $peer->{kind} =~ /hybrid|orphan/ && $peer->{server}{finishing};
    return 0 if $peer;
    return 1 if $end->{kind} eq 'async' && !$end->{up};
    return $end->{server}{unknown} || $end->{server}{refusing};
}

sub _missing {
    my $model = shift;
    return grep { !_is_unsure($_) && $model->missing($_) } values %{ $model->{ends} };
}

# Lets all loops run once, and takes what is there. Returns true.
sub _round {
    local $RandomWorld::World->{waiting} = 1;
    RandomWorld::call($_, 'process') for _owners();
    for my $end (RandomWorld::ends()) {
        next if !$end->{object};
        if ($end->{kind} =~ /client|orphan/) { 1 while !$end->{told_end} && RandomWorld::receive($end, -1) }
        else { 1 while RandomWorld::fetch($end) }
    }
    return 1;
}

sub settle {
    my $model = shift;
    local $RandomWorld::World->{settling} = 1;
    RandomChildren::end_all();
    my @open = grep { $_->{up} && !$_->{closed} && !$_->{told_end} } RandomWorld::ends();
    for my $end (@open) {
        $end->{from} ||= 0;
        RandomWorld::send_from($end, "E$end->{id}." . ++$end->{made} . ' the last') if $end->{object};
    }
    my $until = time + $PATIENCE;
    my @missing;
    while (!@{ $model->{faults} }) {
        _round();
        @missing = _missing($model);
        last if !@missing && !RandomWatches::waiting();
        last if time > $until;
    }
    for my $end (@missing) {
        my ($first) = $model->missing($end);
        $model->fault(scalar($model->missing($end))
            . " messages of end $end->{id} are missing: " . substr($first->{sketch}, 0, 40)
            . join '', map { "\n    " . RandomWorld::facts($_) } $end, RandomWorld::peer($end) || ());
    }
    $model->fault($_) for RandomWatches::waiting();
    return !@{ $model->{faults} };
}

# ---- everything ends -----------------------------------------------------------------------------------

sub _end_one {
    my $end = shift;
    RandomActions::close_end($end) if rand() < 0.5 && !$end->{closed};
    $end->{object} = undef if $end->{kind} eq 'hybrid';
    return RandomActions::drop_end($end) if $end->{object};
    return 1;
}

sub end_all {
    my $model = shift;
    my $world = $RandomWorld::World;
    local $world->{settling} = 1;
    my $until = time + $PATIENCE;
    my @ends;
    while ((@ends = grep { $_->{kind} ne 'hybrid' } RandomWorld::ends()) && time < $until) {
        _end_one($_) for @ends;
        _round();
    }
    $model->fault("end $_->{id} cannot be dropped") for @ends;
    my @servers = grep { $_->{object} } @{ $world->{servers} };
    $until = time + $PATIENCE;    # the last that was dropped may have waited long
    for my $server (@servers) {
        1 while RandomActions::listed($server) && time < $until && _round();
        my @left = RandomActions::listed($server);
        $model->fault("a client of server $server->{id} is left: end $_->{id}") for @left;
    }
    $_->{object} = undef for values %{ $model->{ends} };
    until (time > $until || !grep { $_->{object} } @servers) {
        RandomActions::drop_server($_) for grep { $_->{object} } @servers;
        RandomWorld::call($_, 'process') for grep { $_->{object} } @servers;
    }
    $model->fault("server $_->{id} cannot be dropped") for grep { $_->{object} } @servers;
    _account($model);
    return;
}

sub _account {
    my $model = shift;
    my $world = $RandomWorld::World;
    $model->fault("$_ was thrown, and caught by nobody") for sort keys %{ $model->{thrown} };
    $model->fault("$_->[0] was dropped and is still there") for grep { $_->[1] } @{ $world->{weak} };
    my @lost = grep { !_is_unsure($_) && $model->missing($_) } values %{ $model->{ends} };
    $model->fault("messages of end $_->{id} are missing") for @lost;
    return;
}

# The model holds nothing of the world any more.
sub forget {
    my $model = shift;
    %{ $model->{ends} } = ();
    %$_ = () for @{ $RandomWorld::World->{servers} };
    return;
}

1;
