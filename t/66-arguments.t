# Code of the program's that runs while a method reads its arguments: every method, called with values
# whose reading drops the object, closes it, frees the other arguments, comes back, or dies. Nothing of
# it may disturb memory, which AddressSanitizer and debugging perls see, or another object.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Scalar::Util ();
use Storable ();
use Tie::Array;
use Tie::Hash;
use Net::EasyTCP;

{
    package Reads;    # a tied scalar, array element or hash element
    our ($Action, $Count) = (sub { }, 0);
    sub run { $Count++; my $action = $Action; $action->() if $action; return }

    package Reads::Scalar;
    sub TIESCALAR { my ($class, $value) = @_; return bless { value => $value }, $class }
    sub FETCH { my $value = $_[0]{value}; Reads::run(); return $value }
    sub STORE { }

    package Reads::Array;
    our @ISA = ('Tie::StdArray');
    sub FETCH { my $value = $_[0][ $_[1] ]; Reads::run(); return $value }

    package Reads::Hash;
    our @ISA = ('Tie::StdHash');
    sub FETCH { my $value = $_[0]{ $_[1] }; Reads::run(); return $value }

    package Reads::Object;
    use overload
        '""'     => sub { my $value = $_[0]{value}; Reads::run(); return $value },
        '0+'     => sub { my $value = $_[0]{value}; Reads::run(); return $value },
        'bool'   => sub { Reads::run(); return 1 },
        fallback => 1;
    sub STORABLE_freeze { Reads::run(); return 'x' }
    sub STORABLE_thaw   { return }

    package Guard;
    sub new { my ($class, $code) = @_; return bless [$code], $class }
    sub DESTROY { my $code = $_[0][0]; $code->(); return }
}

# Each puts a value that runs Reads::run when it is read into the array.
my %kinds = (
    'a tied scalar'              => sub { my ($to, $value) = @_; tie $to->[@$to], 'Reads::Scalar', $value },
    'an overloaded object'       => sub {
        my ($to, $value) = @_;
        push @$to, bless { value => $value }, 'Reads::Object';
    },
    'an element of a tied array' => sub {
        my ($to, $value) = @_;
        tie my @tied, 'Reads::Array';
        $tied[0] = $value;
        push_alias($to, \$tied[0]);
    },
    'an element of a tied hash'  => sub {
        my ($to, $value) = @_;
        tie my %tied, 'Reads::Hash';
        $tied{x} = $value;
        push_alias($to, \$tied{x});
    },
);

# Elements of tied containers are read again when they are passed: by a tie that does so.
sub push_alias {
    my ($to, $alias) = @_;
    tie $to->[@$to], 'Aliased', $alias;
    return;
}

{
    package Aliased;
    sub TIESCALAR { my ($class, $alias) = @_; return bless { alias => $alias }, $class }
    sub FETCH { return ${ $_[0]{alias} } }
    sub STORE { }
}

my $echo = spawn_server(donotencrypt => 1, donotcompress => 1);
my %to = (mode => 'client', host => '127.0.0.1', port => $echo->{port});
sub client { return Net::EasyTCP->new(%to) || die $@ }

my $bystander = client();
our ($victim, @arguments);    # the object that methods are called on, and what they are called with
my ($method, @plain);         # and without magic

my %actions = (
    nothing              => sub { },
    'drops the object'   => sub { undef $victim },
    'closes the object'  => sub { $victim->close if $victim },
    'frees arguments'    => sub { @arguments = (); my @other = map { 'z' x 100 } 1 .. 20 },
    'comes back'         => sub { $victim->$method(@plain) if $victim },
    'dies'               => sub { die "on purpose\n" },
    'uses $@'            => sub { eval { die "another text\n" } },
);

pipe(my $pipe, my $pipe_w) or die "pipe: $!";

# Methods and arguments that make sense; code as an argument of start ends it.
my $code = sub { };
my %calls = (
    server => [
        [ setcallback => 'data', $code ], [ callback => 'connect', $code ], [ start => sub { $_[0]->stop } ],
        [ do_one_loop => 0.001 ], [ stop => 1 ], [ running => 1 ], [ clients => 1 ],
        [ addclientip => '127.0.0.1', '127.0.0.2' ],
        [ deleteclientip => '127.0.0.1', '127.0.0.2' ], [ mode => 1 ], [ serial => 1 ], [ send => 'x' ],
        [ receive => 1 ],
        [ data => 1 ], [ pending => 1 ], [ close => 1 ], [ disconnect => 1 ], [ socket => 1 ],
        [ compression => 1 ],
        [ encryption => 1 ], [ remoteip => 1 ], [ remoteport => 1 ], [ proxyip => 1 ], [ stats => 1 ],
        [ room => 'r' ],
        [ joinroom => 'r' ], [ leaveroom => 'r' ], [ rooms => 1 ], [ broadcast => 'x', room => 'r' ],
        [ adopt => 999 ], [ finish => 1 ],
        [ process => 0.001 ], [ pollfd => 1 ], [ pollhandle => 1 ], [ polltimeout => 1 ],
        [ attach => 'Libevil' ],
        [ detach => 1 ], [ queued => 1 ], [ clientlist => 1 ], [ client => 1 ], [ port => 1 ],
        [ localip => 1 ],
        [ watch => $pipe, $code ], [ watch => 0, $code ], [ unwatch => $pipe ],
    ],
    async => [
        [ setcallback => 'data', $code ], [ callback => 'drain', $code ], [ start => sub { $_[0]->stop } ],
        [ do_one_loop => 0.001 ], [ process => 0.001 ], [ stop => 1 ], [ running => 1 ], [ clients => 1 ],
        [ mode => 1 ], [ serial => 1 ], [ send => 'x' ], [ send => [ 'a structure' ] ], [ receive => 0.001 ],
        [ data => 1 ],
        [ pending => 1 ], [ queued => 1 ], [ close => 1 ], [ disconnect => 1 ], [ socket => 1 ],
        [ compression => 1 ],
        [ encryption => 1 ], [ remoteip => 1 ], [ remoteport => 1 ], [ pollfd => 1 ], [ pollhandle => 1 ],
        [ polltimeout => 1 ], [ attach => 'Libevil' ], [ detach => 1 ],
        [ request => 'x', $code, timeout => 10 ], [ watch => $pipe, $code ], [ unwatch => $pipe ],
    ],
    client => [
        [ setcallback => 'data', $code ], [ callback => 'connect', $code ], [ start => $code ],
        [ do_one_loop => 1 ],
        [ stop => 1 ], [ running => 1 ], [ clients => 1 ], [ addclientip => '127.0.0.1' ],
        [ deleteclientip => '127.0.0.1' ],
        [ mode => 1 ], [ serial => 1 ], [ send => 'x' ], [ send => [ 'a structure' ] ], [ receive => 0.001 ],
        [ data => 1 ],
        [ pending => 1 ], [ close => 1 ], [ disconnect => 1 ], [ socket => 1 ], [ compression => 1 ],
        [ encryption => 1 ],
        [ remoteip => 1 ], [ remoteport => 1 ], [ _handle => \*STDIN ], [ queued => 1 ], [ process => 1 ],
        [ watch => $pipe, $code ], [ unwatch => $pipe ],
    ],
);
# Calls go to clients that are connected, and to those that are not yet.
my $made = 0;
sub async {
    my $client = Net::EasyTCP->new(%to, async => 1) || die $@;
    return $client if $made++ % 2;
    my $connected;
    $client->setcallback(connect => sub { $connected = 1 });
    $client->process(10) until $connected;
    return $client;
}

my %make = (
    async => \&async,
    server => sub { return (new_server(donotencrypt => 1))[0] },
    client => \&client,
);

# One call, with everything but the number of the argument that is special as it is.
sub try_call {
    my ($type, $call, $place, $kind, $action) = @_;
    @plain = @$call[ 1 .. $#$call ];
    # Objects are no code: start would run for ever.
    return 1 if $call->[0] eq 'start' && $type ne 'client' && $kind =~ /object/;
    $victim ||= $make{$type}->();
    $method = $call->[0];
    $Reads::Action = undef;
    @arguments = ();
    for my $n (0 .. $#plain) {
        if ($n == $place) { $kinds{$kind}->(\@arguments, $plain[$n]) }
        else              { push @arguments, $plain[$n] }
    }
    local $@ = 'before';
    $Reads::Action = $actions{$action};
    my $lived = eval { $victim->$method(@arguments); 1 };
    my $error = $@;
    $Reads::Action = undef;
    undef $victim if $action =~ /^(?:closes|frees)/ || $method =~ /^(?:close|disconnect|_handle)\z/;
    return $lived || $action eq 'dies' && $error =~ /^on purpose/ || "died: $error";
}

foreach my $type (sort keys %calls) {
    foreach my $call (@{ $calls{$type} }) {
        my @wrong;
        foreach my $place (0 .. $#$call - 1) {
            foreach my $kind (sort keys %kinds) {
                foreach my $action (sort keys %actions) {
                    my $result = try_call($type, $call, $place, $kind, $action);
                    push @wrong, "argument $place, $kind that $action: $result" if $result ne '1';
                }
            }
        }
        is("@wrong", '', "$type: $call->[0] reads its arguments");
    }
    undef $victim;
}
ok($bystander->send('still here'), 'another object can send');
is($bystander->receive, 'still here', 'and receive');

# Magic is read once.
foreach my $call ([ send => 'once' ], [ receive => 0.001 ], [ send => [ 'once' ] ]) {
    my ($name, $value) = @$call;
    tie my $once, 'Reads::Scalar', $value;
    local ($Reads::Action, $Reads::Count) = (undef, 0);
    $bystander->$name($once);
    is($Reads::Count, 1, "$name reads its argument once");
    $bystander->receive if $name eq 'send';
}

# Every option of new. The lists have names in them that are those of no module.
{
    local $SIG{__WARN__} = sub { $_[0] =~ /names the unknown module/ or warn @_ };
    my %values = (
        port => $echo->{port}, password => 'p', donotcompress => 1, donotencrypt => 1,
        donotcompresswith => 'Compress::LZF',
        donotencryptwith => 'Crypt::DES', allowclasses => 'none', maxmessage => 1000, maxdepth => 10,
        highwater => 100000,
        sendtimeout => 5, negotiationtimeout => 20, host => '127.0.0.1', timeout => 20, requirepassword => 0,
        requireencryption => 0, welcome => 'hello', localaddr => '127.0.0.1', maxclients => 5,
        maxhalfopen => 5,
        idletimeout => 50, coalesce => 1, path => '/nowhere', pathmode => '0600', reuseport => 0,
        maxclientsperip => 5,
        proxyfrom => '127.0.0.9',
        listen => 1, whenfull => 'fail', keepalive => 30, async => 1, loop => 'x', handle => 'x',
        reconnect => 1,
    );
    foreach my $mode (qw(client server)) {
        my @wrong;
        foreach my $option (sort keys %values) {
            foreach my $how ('itself', 'an element') {
                foreach my $action ('nothing', 'dies', 'uses $@') {
                    my $object = bless { value => $values{$option} }, 'Reads::Object';
                    my %options = (%to, ($mode eq 'server' ? (mode => 'server', port => '00') : ()));
                    $options{$option} = $how eq 'itself' ? $object : [ 'x', $object, 'y' ];
                    local $Reads::Action = $actions{$action};
                    my $made = eval { Net::EasyTCP->new(%options); 1 };
                    push @wrong, "$option, $how, $action: $@" if !$made
                        && !($action eq 'dies' && $@ eq "on purpose\n");
                }
            }
        }
        is("@wrong", '', "$mode: new reads its options");
    }
    is(eval {
        Net::EasyTCP->new(mode => 'server', port => '00',
            allowclasses => [ bless { value => 'A' }, 'Reads::Object' ]);
    } ? 1 : $@,
        1, 'the name of a class that is an object');
}

# Values that are freed because a method replaces them.
{
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    my $server = $make{server}->();
    {
        my $guard = Guard->new(sub { undef $server });
        $server->setcallback(data => sub { $guard });
        $server->{_callbacks}{data} = 0;
    }
    is($server->setcallback(data => sub { }), 1, 'the old callback takes the server along');
    ok(!defined $server, 'it is gone');

    $server = $make{server}->();
    $server->{_callbacks} = Guard->new(sub { undef $server });
    is($server->setcallback(data => sub { }), 1, 'so does what was in the place of the callbacks');
    $server = $make{server}->();
    $server->{_callbacks}{data} = Guard->new(sub { delete $server->{_callbacks} if $server; undef $server });
    is($server->setcallback(data => sub { }), 1, 'and what was in the place of one of them');

    my $client = client();
    $client->{_serial} = Guard->new(sub { undef $client });
    like($client->serial, qr/^\d+\z/, 'serial() takes the place of an entry that does so');
    is("@warned", '', 'perl counts its references well');
}

# Hooks that come back to the object whose message is being thawed.
{
    package Hooked;
    our $Hook;
    sub STORABLE_freeze { return 'x' }
    sub STORABLE_thaw { my $hook = $Hook; undef $Hook; $hook->() if $hook; return }
}
my $image = Storable::nfreeze(bless {}, 'Hooked');
foreach my $case (
    [ 'drops the object'      => sub {
        my ($server, $object) = @_;
        $$object->close;
        $server->do_one_loop;
        undef $$object;
    } ],
    [ 'drops it and dies'     => sub {
        my ($server, $object) = @_;
        $$object->close;
        $server->do_one_loop;
        undef $$object;
        die "no\n";
    } ],
    [ 'fetches what is left'  => sub { my ($server, $object) = @_; 1 while defined $$object->data } ],
) {
    my ($name, $hook) = @$case;
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my ($object, $got) = (undef, 0);
    $server->setcallback(data => sub { $object = $_[0]; $got++ });
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    write_to($sock, packet(5, 'first') . packet(7, $image) . packet(5, 'third'));
    run_until($server, sub { $got == 3 });
    is($object->data, 'first', 'the first message');
    $Hooked::Hook = sub { $hook->($server, \$object) };
    my $second = $object->data;
    ok($name =~ /dies/ ? !defined $second : ref $second eq 'Hooked', "data() with a hook that $name");
}

# Messages that arrive while a hook runs: the bucket moves and grows, and keeps all.
foreach my $late (1 .. 20) {
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my ($object, $got) = (undef, 0);
    $server->setcallback(data => sub { $object = $_[0]; $got++ });
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    write_to($sock, join '', map { $_ == 5 ? packet(7, $image) : packet(5, $_) } 1 .. 8);
    run_until($server, sub { $got == 8 });
    my @seen = map { scalar $object->data } 1 .. 4;
    $Hooked::Hook = sub {
        write_to($sock, join '', map { packet(5, "late $_") } 1 .. $late);
        $server->do_one_loop for 1 .. 3;
    };
    push @seen, ref $object->data;
    run_until($server, sub { $got == 8 + $late });
    push @seen, map { scalar $object->data } 6 .. 8 + $late;
    is_deeply(\@seen, [ 1 .. 4, 'Hooked', 6 .. 8, map { "late $_" } 1 .. $late ],
        "$late messages while a hook runs");
}

# The handler of a warning that perl has about a value is code, too.
{
    no warnings 'once';
    package Orphan;
    our @ISA = ('Not::There');
    package Orphan::Overloading;
    use overload '""' => sub { 'text' };
}

foreach my $case (
    [ 'finish', sub { $_[0]->finish('soon') } ],
    [ 'client', sub { $_[0]->client('first') } ],
    [ 'broadcast', sub { $_[0]->broadcast('text', undef, 1) } ],
    [ 'addclientip', sub { $_[0]->addclientip(undef, '192.0.2.1') } ],
    [ 'deleteclientip', sub { $_[0]->deleteclientip(undef) } ],
    [ '_wake', sub { Net::EasyTCP::_wake($_[0], 'soon', sub { }) } ],
    [ '_adopt', sub { Net::EasyTCP::_adopt($_[0], 'none') } ],
) {
    my ($name, $call) = @$case;
    my ($server, $warned) = (scalar new_server(), 0);
    my @later;
    local $SIG{__WARN__} = sub { $warned++; undef $server; push @later, map { { a => $_ } } 1 .. 100 };
    eval { $call->($server); 1 } or note $@;
    ok($warned, "$name() while the handler of a warning drops the server");
}

# What the modules of this distribution call, with what runs code when it is read.
foreach my $case (
    [ '_wake', sub { Net::EasyTCP::_wake($_[0], $_[1], sub { }) } ],
    [ '_adopt', sub { Net::EasyTCP::_adopt($_[0], $_[1]) } ],
    [ '_attachment', sub { Net::EasyTCP::_attachment($_[0], 'attach', $_[1]) } ],
    [ '_rooms', sub { Net::EasyTCP::_rooms($_[0], 'room', $_[1]) } ],
    [ '_relay', sub { Net::EasyTCP::_relay($_[0], $_[1], 'text', undef, undef) } ],
    [ '_forms', sub { Net::EasyTCP::_forms($_[0], [ $_[1] ]) } ],
) {
    my ($name, $call) = @$case;
    my ($server, $read) = (scalar new_server(), 0);
    my @later;
    local $Reads::Action = sub { $read++; undef $server; push @later, map { { a => $_ } } 1 .. 100 };
    eval { $call->($server, bless { value => 1 }, 'Reads::Object'); 1 } or note $@;
    ok($read, "$name() of what drops the server");
}

sub nested { my $deep = my $in = []; push @$in, [] and $in = $in->[-1] foreach 1 .. 30000; return $deep }

foreach my $case (
    [ 'an object whose parent is not there', sub { [ (bless {}, 'Orphan'), map { [$_] } 1 .. 100 ] } ],
    [ 'one that overloads', sub {
        @Orphan::Overloading::ISA = ('Not::There');
        return [ (bless {}, 'Orphan::Overloading'), map { [$_] } 1 .. 100 ];
    } ],
    [ 'what nests deeper than a limit that is no number', \&nested ],
) {
    my ($name, $make) = @$case;
    my $client = client_to($echo, donotencrypt => 1, donotcompress => 1);
    my ($structure, $warned) = ($make->(), 0);
    my @later;
    local $Storable::recursion_limit = 'lots';
    local $^W = 1;    # Storable has no warnings of its own
    local $SIG{__WARN__} = sub {
        $warned++;
        undef $client;
        @$structure = () if $name !~ /nests/;
        undef $structure;
        push @later, map { [$_] } 1 .. 200;
    };
    eval { $client->send($structure); 1 } or note $@;
    ok($warned, "send() of $name, while the handler of the warning drops all");
}

# The same when a structure comes in; the handler reads others meanwhile.
{
    my $image = Net::EasyTCP::_freeze([ (bless {}, 'Orphan::Overloading'), map { [$_] } 1 .. 1000 ]);
    my $other = Net::EasyTCP::_freeze([ map { { number => $_ } } 1 .. 3000 ]);
    my $warned = 0;
    @Orphan::Overloading::ISA = ('Is::Not::There');
    local $SIG{__WARN__} = sub { $warned++; Net::EasyTCP::_thaw($other) foreach 1 .. 3 };
    my $structure = Net::EasyTCP::_thaw($image);
    ok($warned, 'an object whose parent is not there comes in: its class is looked at');
    is(ref $structure->[0], 'Orphan::Overloading', 'it is of its class');
    is_deeply([ map { $_->[0] } @$structure[ 1 .. 1000 ] ], [ 1 .. 1000 ], 'and the rest is as it was');
    @Orphan::Overloading::ISA = ();
    local $Storable::flags = 'none';
    $warned = 0;
    is(ref Net::EasyTCP::_thaw($image)->[0], 'HASH', 'flags that are no number allow nothing');
    is($warned, 0, 'and nobody is warned of them');
}

$bystander->close;
$echo->kill('TERM');
done_testing();
