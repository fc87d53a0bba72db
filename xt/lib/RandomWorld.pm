package RandomWorld;

# The objects of one round: servers, the clients of all kinds, and what the program knows of each.
#
# $World is the round that runs; callbacks have no other way to find it. Of a server it knows
#   object, id, options, where (options that clients connect by), attached
#   unknown   true: an end was closed before it was known whose other end it is
#   refusing  true: it may close who has connected
# and of an end, beside what RandomModel knows:
#   object    weak where the program keeps no reference
#   server    the server at which the connection ends
#   up        connected
#   clear     no cipher and no TLS
#   raises    option raiseerror
#   closed    by the program
#   requests  numbers of requests without reply
#   busy      a call of it is under way that waits

use strict;
use warnings;

use Net::EasyTCP;
use POSIX ();
use RandomModel;
use Scalar::Util qw(blessed weaken);
use Time::HiRes qw(setitimer ITIMER_REAL time);

our ($World, $Texts);

{
    package RandomHooked;
    sub STORABLE_freeze { my $self = shift; return "hooked $self->[0]" }
    sub STORABLE_thaw { my ($self, $cloning, $text) = @_; $self->[0] = substr $text, 7; return }

    package RandomTied;    # an option whose reading dies
    sub TIESCALAR { my ($class, $model) = @_; return bless { model => $model }, $class }
    sub FETCH { return $_[0]{model}->throw }
}

sub new {
    my ($class, $model, $directory) = @_;
    return bless { model => $model, directory => $directory, servers => [], depth => 0, children => [],
        weak => [] }, $class;
}

sub pick { return $_[ rand @_ ] }

# ---- calls ---------------------------------------------------------------------------------------------

my %FAILS_UNDEF = map { $_ => 1 } qw(send receive process do_one_loop start broadcast request joinroom adopt
    watch);

sub _short {
    return join ', ', map { !defined() ? 'undef' : ref() ? ref() : 
        length() > 20 ? substr($_, 0, 12) . '...' . length : $_ } @_;
}

sub _count {
    my ($end, $method) = @_;
    my $model = $World->{model};
    return if $World->{waiting};
    $model->{calls}{$method}++;
    $model->{total}++;
    for my $mark (keys %{ $end->{after} || {} }) {
        $model->{pairs}{"$mark/$method"}++ if !$end->{after}{$mark}{$method}++;
    }
    return;
}

# What happened to an end, for the table of pairs.
sub mark {
    my ($what, @ends) = @_;
    $_->{after}{$what} = {} for grep { $_ } @ends;
    return;
}

# Calls a method of an end or a server. Returns what it returned, and the text of $@; undef and "died" after
# one of our own exceptions.
sub call {
    my ($thing, $method, @arguments) = @_;
    my $model = $World->{model};
    my $object = $thing->{object} or return (undef, 'no object');
    _count($thing, $method);
    $model->note("$World->{depth} $thing->{kind} $thing->{id}->$method(" . _short(@arguments) . ')')
        if !$World->{waiting};
    my ($result, $text);
    my $ok = eval {
        $@ = '';
        if (rand() < 0.5) { $result = $object->$method(@arguments) }
        else { ($result) = $object->$method(@arguments) }
        $text = $@;
        1;
    };
    return _died($thing, $method, $@) if !$ok;
    $model->note("    failed: $text") if !defined $result && length $text && !$World->{waiting};
    $model->fault("undocumented after $method: $text") if !$result && length $text && !$Texts->knows($text);
    $model->fault("no text after $method") if !defined $result && !length $text && $FAILS_UNDEF{$method};
    return ($result, $text);
}

sub _died {
    my ($thing, $method, $text) = @_;
    my $model = $World->{model};
    chomp(my $line = $text);
    $model->note("    died: $line") if !$World->{waiting};
    return (undef, 'died') if $model->caught($text);
    my $may = $thing->{raises} || $method =~ /^(?:send|broadcast|request)/ && $text =~ /^Can't store/;
    $model->fault("an exception out of $method: $text") if !$may || !$Texts->knows($text);
    $text =~ s/ at \S+ line \d+\.\n\z//;
    return (undef, $text);
}

# Runs code while a timer drives all servers, for calls that wait for one of this process.
sub with_timer {
    my $code = shift;
    return $code->() if $World->{ticking};
    local $World->{ticking} = 1;
    local $SIG{ALRM} = \&_tick;
    setitimer(ITIMER_REAL, 0.0005, 0.001);
    my @result = eval { $code->() };
    my $died = $@;
    setitimer(ITIMER_REAL, 0);
    die $died if length $died;
    return wantarray ? @result : $result[0];
}

sub _tick {
    local ($@, $!, $World->{in_tick}) = ('', 0, 1);
    local $World->{depth} = $World->{depth} + 1;
    for my $server (grep { $_->{object} } @{ $World->{servers} }) { call($server, 'process') }
    return;
}

# Whether a call that needs a server's loop may wait now.
sub may_wait { return !$World->{ticking} && $World->{depth} < 2 }

# ---- ends ----------------------------------------------------------------------------------------------

sub ends {
    my @all = grep { $_->{object} } values %{ $World->{model}{ends} };
    return @all = sort { $a->{id} <=> $b->{id} } @all;
}

sub any_end {
    my @kinds = @_;
    my @ends = grep { !$_->{busy} } ends();
    @ends = grep { my $kind = $_->{kind}; grep { $kind eq $_ } @kinds } @ends if @kinds;
    return @ends ? $ends[ rand @ends ] : undef;
}

sub any_server {
    my @servers = grep { $_->{object} } @{ $World->{servers} };
    return @servers ? $servers[ rand @servers ] : undef;
}

# The end of an object that a callback was given.
sub end_of {
    my $object = shift;
    return $World->{model}{ends}{ $object->{random_end} || 0 };
}

sub hold {
    my ($end, $object, $strongly) = @_;
    $end->{object} = $object;
    weaken($end->{object}) if !$strongly;
    $object->{random_end} = $end->{id};
    push @{ $World->{weak} }, [ "$end->{kind} $end->{id}", $object ];
    weaken($World->{weak}[-1][1]);
    return $end;
}

sub peer { my $end = shift; return $World->{model}{ends}{ $end->{peer} || 0 } }

# The same, unless it knows that this connection is over: what it sends is for the next one.
sub _living_peer { my $end = shift; return $end->{past} ? undef : peer($end) }

# What the model knows of an end, for who looks for a fault.
sub facts {
    my $end = shift;
    my $server = $end->{server} || {};
    return join ' ', "$end->{kind} $end->{id}:", ($end->{object} ? () : 'dropped'),
        map({ "$_=$end->{$_}" }
            grep { $end->{$_} && !ref $end->{$_} && !/^(?:id|kind|was_)/ } sort keys %$end),
        "server $server->{id}:", ($server->{object} ? () : 'dropped'),
        grep { $server->{$_} } qw(unknown refusing finishing);
}

# The program ends a connection at this end: what the other one sends may be lost. Where a child has it,
# too, it is only let go: the system breaks it off when the child ends, if anything is unread.
sub let_go {
    my $end = shift;
    my $model = $World->{model};
    my $peer = _living_peer($end);
    $model->doom($peer) if $peer;
    $end->{server}{unknown} = 1 if !peer($end) && $end->{server};
    $model->doom($end) if $end->{kind} eq 'async' && !$end->{up};
    break_off($end) if @{ $World->{children} };
    $end->{closed} = time;
    RandomWatches::end_all($end);
    mark('close', $end, $peer);
    return;
}

# Both directions may lose: an error is expected.
sub break_off {
    my $end = shift;
    $World->{model}->doom($_) for grep { $_ } $end, _living_peer($end);
    $end->{fragile} = 1;
    $end->{server}{unknown} = 1 if !peer($end);
    return;
}

# Servers that finish close their clients by and by. "Where a forked process has the connection too, it is
# only let go" (the manual, "close"): as above.
sub let_go_shared {
    return if !@{ $World->{children} };
    break_off($_) for grep { $_->{kind} eq 'hybrid' && $_->{server}{finishing} && !$_->{closed} }
        values %{ $World->{model}{ends} };
    return;
}

# ---- messages ------------------------------------------------------------------------------------------

use constant KEPT => 40_000;    # bytes that the system takes at once, for who reads later

# How many bytes an end may send; undef: any number, as a loop goes on with them. Where the loop's object was
# dropped, that waits for them when the loop returns, and who should read them waits, too.
sub most_from {
    my $end = shift;
    my %goes_on = (async => !$end->{gone}, hybrid => $end->{server}{object});
    return $goes_on{ $end->{kind} } ? undef : KEPT - $World->{model}->outstanding($end);
}

# Sends what is given, or something new.
sub send_from {
    my ($end, $data) = @_;
    my $model = $World->{model};
    my $most  = most_from($end);
    return if defined $most && $most < 1000;
    $data = $model->message($end, $most) if !defined $data;
    my $item = $model->expect($end, $data);
    my ($sent, $text) = call($end, 'send', $data);
    return 1 if $sent;
    return if $text eq 'died';
    break_off($end) if _is_full_and_closed($end, $text);
    $model->retract($end, $item);
    my $peer = peer($end) || {};
    return if $end->{closed} || !$end->{up} || $end->{told_end} || $end->{fragile} || $peer->{closed}
        || $peer->{fragile};
    return if $text =~ /too much output|queue is full/ && $end->{highwater};
    return if $end->{server}{unknown} || $end->{server}{refusing} || !$end->{server}{object};
    $model->fault("send failed: $text");
    return;
}

sub _is_full_and_closed {
    my ($end, $text) = @_;
    return $end->{highwater} && ($end->{whenfull} || '') eq 'close'
        && $text =~ /too much output|queue is full/;
}

# Takes the oldest message that is here. Returns whether there was one.
sub fetch {
    my $end = shift;
    my $object = $end->{object} or return 0;
    _count($end, 'data');
    my ($data, $is, $text);
    eval { ($data, $is) = $object->data; $text = $@; 1 } or ($is, $text) = (1, $@);
    return _arrived($end, $data, $is, $text);
}

sub _arrived {
    my ($end, $data, $is, $text) = @_;
    my $model = $World->{model};
    if (defined $data) {
        $model->note("    end $end->{id} got " . _short(ref $data ? RandomModel::sketch($data) : $data));
        $model->arrive($end, $data);
        return 1;
    }
    return 0 if !$is && (!defined $text || $text !~ /^Received data refused/);
    $model->fault("end $end->{id}: refused, but nothing is forbidden: $text") if !$end->{forbids};
    $model->arrive_refused($end);
    return 1;
}

# Returns whether something was received.
sub receive {
    my ($end, $seconds) = @_;
    my ($data, $text) = call($end, 'receive', $seconds);
    return _arrived($end, $data, 0, $text) if defined $data || $text =~ /^Received data refused/;
    return 0 if $text =~ /^Timed out waiting to receive/ || $text eq 'died';
    told_end($end, $text =~ /^Socket (?:closed|handle)/ ? '' : $text) if $end->{kind} =~ /client|orphan/;
    return 0;
}

# The other end has closed, with a text if that was no good end.
sub told_end {
    my ($end, $text) = @_;
    my $model = $World->{model};
    return if $end->{told_end}++;
    # In a loop inside its loop, a client that broadcast() has closed is still listed, until it is told.
    break_off($end) if _is_full_and_closed($end, $text);
    my $peer   = peer($end);
    my $server = $end->{server};
    my $known  = $end->{closed} || $end->{fragile} || !$server->{object} || $server->{finishing};
    $known ||= $peer ? $peer->{closed} || $peer->{fragile} : $server->{unknown} || $server->{refusing};
    $model->fault("end $end->{id} was told of the end, but nobody closed: '$text'") if !$known;
    $peer = _living_peer($end);
    # Where it is not known yet which of the connections of its client this one is, nothing can be said.
    my $is_sure = $peer && !length $text && !@{ $peer->{pasts} || [] };
    my @missing = $is_sure ? $model->missing($peer) : ();
    $model->fault("the end came before " . @missing . " messages of end $peer->{id}: "
        . substr $missing[0]{sketch}, 0, 40)
        if @missing;
    $model->fault("an undocumented end: $text")
        if length $text && !$Texts->knows("Failed to read from socket: $text")
        && !$Texts->knows($text);
    $model->doom($end);
    $model->doom($peer) if $peer && length $text;
    return;
}

1;
