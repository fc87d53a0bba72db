package RandomCallbacks;

# The callbacks of servers and of clients with async, and what they do beside taking messages.

use strict;
use warnings;

use RandomWorld;

sub world { return $RandomWorld::World }

# Now and then callbacks act themselves, run a loop inside the loop, or die.
sub and_more {
    my $end = shift;
    my $world = world();
    local $world->{depth} = $world->{depth} + 1;
    return if $world->{settling} || $world->{depth} > 4;
    RandomActions::act($end) if rand() < 0.15;
    return if rand() >= 0.02;
    RandomWorld::mark('die', $end);
    $world->{model}->throw;
}

# A client has come to a server.
sub server_connect {
    my ($server, $object) = @_;
    my $world = world();
    my %more = map { $_ => $server->{$_} } qw(raises highwater whenfull forbids);
    my $end = $world->{model}->new_end('hybrid', %more, server => $server, up => 1,
        clear => !$object->encryption);
    $end->{held} = rand() < 0.3 && !$world->{settling};
    RandomWorld::hold($end, $object, $end->{held});
    RandomWorld::let_go_shared();
    RandomActions::lose_server($end) if !$server->{object};    # it was dropped in its own loop, which goes on
    $world->{model}->note("    end $end->{id} has come to server $server->{id}");
    RandomWorld::send_from($end) if rand() < 0.8;
    return and_more($end);
}

# The end of a client, unless it was dropped, or the object in whose loop it is: in that loop it lives until
# the loop returns.
sub _living_end {
    my $end = RandomWorld::end_of(shift);
    return $end && $end->{object} && !$end->{gone} ? $end : undef;
}

sub data {
    my $object = shift;
    my $end = RandomWorld::end_of($object) or return world()->{model}->fault('data before connect');
    my $model = world()->{model};
    return $object->data if !$end->{object};
    return RandomWorld::fetch($end) if $end->{gone};
    $model->fault("data after the end, at end $end->{id}") if $end->{told_end};
    # Right only where the connection is lost, but that is not told yet: the requests wait for the next one.
    $end->{unclaimed} = 1 if @{ $end->{requests} || [] } && !$end->{unfetched};
    if (rand() < 0.95 || world()->{settling}) { RandomWorld::fetch($end) }
    else { $end->{unfetched} = 1; $model->note("    end $end->{id} leaves a message") }
    $end->{unfetched} = 0 if world()->{settling};
    RandomWorld::send_from($end) if !world()->{settling} && rand() < 0.3;
    return and_more($end);
}

sub take_all {
    my $end = shift;
    1 while RandomWorld::fetch($end);
    return;
}

sub server_disconnect {
    my ($object, $text) = @_;
    my $end = RandomWorld::end_of($object) or return world()->{model}->fault('disconnect before connect');
    my $model = world()->{model};
    $model->note("    end $end->{id} is told of the end: $text");
    $model->fault("a second disconnect, at end $end->{id}") if $end->{told_end};
    # A server that is dropped in its own loop lives until that returns.
    $model->fault("disconnect for end $end->{id}, which the program has closed")
        if $end->{closed} && $end->{server}{object};
    take_all($end);
    RandomWorld::told_end($end, $text);
    return and_more($end);
}

sub server_error {
    my ($server, undef, $text, $kind, undef, $object) = @_;
    my $model = world()->{model};
    $model->note("    server $server->{id} is told of an error: $kind, $text");
    $model->fault("an undocumented error: $text") if !$RandomWorld::Texts->knows($text);
    my $end  = $object && RandomWorld::end_of($object);
    my $peer = $end && RandomWorld::peer($end);
    $model->fault("an error of kind $kind: $text")
        if !$server->{unknown} && $kind !~ /^(?:password|negotiation)$/ && $text !~ /too much output/
        && !grep { $_ && $_->{fragile} } $end, $peer;
    return;
}

# What setcallback() is given for a server: closures are new each time.
sub for_server {
    my $server = shift;
    return (
        connect    => sub { server_connect($server, $_[0]) },
        data       => sub { data($_[0]) },
        disconnect => sub { server_disconnect(@_) },
        error      => sub { server_error($server, @_) },
        drain      => sub { and_more(RandomWorld::end_of($_[0])) },
        finished   => sub { $server->{finished}++ },
    );
}

# ---- clients with async ------------------------------------------------------------------------------------

sub async_connect {
    my $object = shift;
    my $end = _living_end($object) or return;
    my $model = world()->{model};
    $model->note("    end $end->{id} is connected");
    $model->fault("a second connect, at end $end->{id}") if $end->{up};
    $model->fault("connect after close, at end $end->{id}") if $end->{closed};
    @$end{qw(up told_end)} = (1, 0);
    $end->{clear} = !$object->encryption;
    RandomWorld::send_from($end) if rand() < 0.8;
    return and_more($end);
}

sub async_disconnect {
    my ($object, $text) = @_;
    my $end = _living_end($object) or return;
    my $model = world()->{model};
    $model->note("    end $end->{id} is told of the end: $text");
    $model->fault("disconnect without connect, at end $end->{id}") if !$end->{up};
    $model->fault("disconnect for end $end->{id}, which the program has closed") if $end->{closed};
    take_all($end);
    RandomWorld::told_end($end, $text);
    @$end{qw(up unclaimed)} = (0, 0);
    $model->ended($end);
    return and_more($end);
}

sub async_error {
    my ($object, $text, $kind) = @_;
    my $end = _living_end($object) or return;
    my $model = world()->{model};
    $model->note("    end $end->{id} is told of an error: $kind, $text");
    $model->fault("an undocumented error: $text") if !$RandomWorld::Texts->knows($text);
    my $server = $end->{server};
    return if $text =~ /spoke TLS before/ && $server->{where}{port};
    $model->fault("end $end->{id} cannot connect: $text")
        if $server->{object} && !$server->{finishing} && !$server->{refusing} && !$end->{wrong}
        && !$end->{closed};
    return and_more($end);
}

sub for_async {
    return (
        connect    => sub { async_connect(@_) },
        data       => sub { data($_[0]) },
        disconnect => sub { async_disconnect(@_) },
        error      => sub { async_error(@_) },
        drain      => sub { and_more(_living_end($_[0]) || return) },
    );
}

# The code of a request: called once, in its turn.
sub for_request {
    my ($end, $number) = @_;
    my $called = 0;
    return sub {
        my ($reply, $text) = @_;
        my $model = world()->{model};
        $model->fault("request $number of end $end->{id} is answered twice") if $called++;
        return if !$end->{object};    # it was dropped: its requests fail, in any order
        my $first = shift @{ $end->{requests} };
        $model->fault("request $number of end $end->{id} is answered before others")
            if ($first || 0) != $number;
        $model->note("    request $number of end $end->{id}: " . (defined $text ? "failed, $text"
            : 'a reply'));
        $model->fault("the message before that was not taken for a reply")
            if $end->{unclaimed} && (!defined $text || $text =~ /^Received data refused/);
        if (!defined $text) { RandomWorld::_arrived($end, $reply, 1, '') }
        elsif ($text =~ /^Received data refused/) { RandomWorld::_arrived($end, undef, 1, $text) }
        elsif (!$RandomWorld::Texts->knows($text)) { $model->fault("undocumented, for a request: $text") }
        return and_more($end);
    };
}

1;
