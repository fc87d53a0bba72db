package RandomMake;

# New servers and clients, with options by chance.

use strict;
use warnings;

use IO::Socket::INET;
use Net::EasyTCP;
use RandomCallbacks;
use RandomWorld;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

sub world { return $RandomWorld::World }
sub pick { return $_[ rand @_ ] }

# The object, and the text of $@.
sub try_new {
    my @options = @_;
    my $model = world()->{model};
    $model->{calls}{new}++;
    $model->{total}++;
    my %said = @options;
    $model->note('    makes a ' . join ' ', map { $said{$_} || () } qw(mode async));
    my ($object, $text);
    return ($object, $text) if eval { $object = Net::EasyTCP->new(@options); $text = $@; 1 };
    return (undef, $@);
}

# ---- options -------------------------------------------------------------------------------------------

sub _both {
    my @options;
    push @options, compress => pick(qw(always never auto)) if rand() < 0.5;
    push @options, donotcompress => 1 if !@options && rand() < 0.2;
    push @options, donotencrypt => 1 if rand() < 0.5;
    push @options, donotencryptwith => 'TLS' if !grep({ $_ eq 'donotencrypt' } @options) && rand() < 0.4;
    push @options, allowclasses => 'none' if rand() < 0.1;
    push @options, raiseerror => 1 if rand() < 0.1;
    push @options, keepalive => 60 if rand() < 0.1;
    return @options;
}

my $paths = 0;    # none is used twice: clients remember who spoke TLS there

sub _where {
    my $kind = rand;
    return (port => '00', localaddr => '127.0.0.1') if $kind < 0.5;
    return (path => world()->{directory} . '/' . ++$paths) if $kind < 0.75;
    return (handle => IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1')) if $kind < 0.9;
    return (listen => 0);
}

sub server {
    my $world = world();
    my %o = (_both(), _where());
    $o{password} = 'sesame' if rand() < 0.3;
    $o{maxclients} = 8 if rand() < 0.1;
    $o{coalesce} = 0 if rand() < 0.2;
    @o{qw(highwater whenfull)} = (20_000 + int rand 100_000, pick(qw(fail close))) if rand() < 0.3;
    my ($object, $text) = try_new(mode => 'server', %o);
    return $world->{model}->fault("no server: $text") if !$object;
    delete $o{handle};    # its descriptor would keep the port
    my $server = { kind => 'server', id => ++$world->{numbers}, options => \%o, object => $object,
        raises => $o{raiseerror}, forbids => $o{allowclasses}, refusing => $o{maxclients},
        map { $_ => $o{$_} } qw(highwater whenfull) };
    $server->{where} = $o{path} ? { path => $o{path} } : $o{listen} ? undef
        : { host => '127.0.0.1', port => $object->port };
    $server->{where} = undef if defined $o{listen};
    push @{ $world->{servers} }, $server;
    push @{ $world->{weak} }, [ "server $server->{id}", $object ];
    Scalar::Util::weaken($world->{weak}[-1][1]);
    $world->{model}->note("new server $server->{id}: " . join ' ', map { "$_=$o{$_}" } sort keys %o);
    RandomWorld::call($server, pick(qw(setcallback callback)), RandomCallbacks::for_server($server));
    RandomWorld::call($server, 'addclientip', '127.0.0.0/8', 'unix') if rand() < 0.3;
    return $server;
}

# Two ends of a new connection: one is given to the server, the other one is for a client.
sub _pair {
    my $server = shift;
    socketpair(my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
    my ($taken, $text) = RandomWorld::call($server, 'adopt', rand() < 0.5 ? $here : fileno $here);
    return $there if $taken;
    world()->{model}->fault("adopt failed: $text") if !$server->{refusing} && !$server->{finishing};
    return;
}

# How a client reaches this server, as options. Empty: not now.
sub _way_to {
    my $server = shift;
    return %{ $server->{where} } if $server->{where} && rand() < 0.8;
    my $handle = _pair($server);
    return $handle ? (handle => $handle) : ();
}

sub _client_options {
    my $server = shift;
    my %o = _both();
    $o{password} = 'sesame' if $server->{options}{password} || rand() < 0.05;
    $o{requirepassword} = 0 if $o{password};
    return %o;
}

sub _end_of_client {
    my ($kind, $server, $object, %o) = @_;
    my $end = world()->{model}->new_end($kind, server => $server, raises => $o{raiseerror},
        forbids => $o{allowclasses});
    world()->{model}->note("new $kind $end->{id} at server $server->{id}: "
        . join ' ', map { "$_=$o{$_}" } sort keys %o);
    return RandomWorld::hold($end, $object, 1);
}

# ---- clients that wait -----------------------------------------------------------------------------------

sub client {
    my $server = shift;
    return if !RandomWorld::may_wait();
    RandomChildren::end_all();    # or its connection might not end with the server
    my %way = _way_to($server) or return;
    my %o = (_client_options($server), %way);
    my ($object, $text) = RandomWorld::with_timer(sub { try_new(mode => 'client', %o) });
    if (!$object) {
        return if $text =~ /spoke TLS before/ && $way{port};    # a port that an earlier server had
        world()->{model}->fault("no client of server $server->{id}: $text")
            if $server->{object} && !$server->{refusing} && !$server->{finishing};
        return;
    }
    my $end = _end_of_client('client', $server, $object, %o);
    @$end{qw(up clear)} = (1, !$object->encryption);
    # The server's last packet inside TLS, which the first methods that need it would wait for.
    for (1 .. 5) { RandomWorld::call($server, 'process') }
    RandomWorld::send_from($end) if rand() < 0.8;
    return $end;
}

# ---- clients with callbacks --------------------------------------------------------------------------------

# Whose loop to be in: an end or a server, or undef for its own.
sub _host {
    my $kind = rand;
    return RandomWorld::any_server() if $kind < 0.5;
    my @own = grep { $_->{kind} eq 'async' && !$_->{host} && !$_->{gone} } RandomWorld::ends();
    return $kind < 0.7 && @own ? pick(@own) : undef;
}

sub async {
    my $server = shift;
    my %way = _way_to($server) or return;
    my %o = (_client_options($server), %way);
    $o{reconnect} = [ 0.001, 0.01 ] if !$o{handle} && rand() < 0.4;
    @o{qw(highwater whenfull)} = (20_000 + int rand 100_000, pick(qw(fail close))) if rand() < 0.3;
    my $host = _host();
    my ($object, $text) = try_new(mode => 'client', async => 1, %o, $host ? (loop => $host->{object}) : ());
    return world()->{model}->fault("no client with async: $text") if !$object;
    my $end = _end_of_client('async', $server, $object, %o);
    $end->{$_} = $o{$_} for qw(highwater whenfull reconnect);
    $end->{highwater} ||= 64 << 20;
    $end->{host} = $host;
    world()->{model}->note("    in the loop of $host->{kind} $host->{id}") if $host;
    $end->{requests} = [];
    RandomWorld::call($end, 'setcallback', RandomCallbacks::for_async());
    RandomWorld::send_from($end) if rand() < 0.8;
    return $end;
}

# ---- what cannot be made ---------------------------------------------------------------------------------

my @WRONG = (
    [ maxmessage => 'much' ], [ compress => 'perhaps' ], [ whenfull => 'never' ], 
    [ requireencryption => 'Rot13' ],
    [ allowclasses => {} ], [ tls => 'maybe' ], [ donotencrypt => 1, requireencryption => 'TLS' ],
    [ tlscert => '/nowhere' ], [ highwater => -1 ], [ password => "\x{263a}" ], [ reconnect => 'soon' ],
);

# Fails, by a text or by an exception while an option is read; nothing may be left open.
sub wrong {
    my $model = world()->{model};
    my @more = rand() < 0.5 ? _dying($model) : @{ pick(@WRONG) };
    my @way = rand() < 0.5 ? (mode => 'server', _where())
        : (mode => 'client', async => rand() < 0.5, handle => _any_socket());
    my ($object, $text) = try_new(@way, @more);
    return if $model->caught($text);
    return $model->fault("undocumented after new: $text @way @more")
        if !$object && !$RandomWorld::Texts->knows($text);
    return $model->fault("made in spite of @more") if $object && $more[0] !~ /reconnect|RandomText/;
    return;
}

# An option whose reading dies.
sub _dying {
    my $model = shift;
    my $name = pick(qw(maxmessage sendtimeout highwater password allowclasses requireencryption
        tlsfingerprint));
    return ($name, $name =~ /allow|require|finger/ ? _list_that_dies($model) : _text_that_dies($model));
}

sub _list_that_dies {
    my $model = shift;
    my @list  = ('TLS');
    tie $list[1], 'RandomTied', $model;
    return \@list;
}

sub _text_that_dies { my $model = shift; return bless { model => $model }, 'RandomText' }

{
    package RandomText;
    use overload '""' => sub { $_[0]{model}->throw }, '0+' => sub { $_[0]{model}->throw }, fallback => 1;
}

sub _any_socket {
    socketpair(my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
    return $here;
}

1;
