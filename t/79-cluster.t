# Broadcasts to the clients of several servers through a stream, with a class in the place of Redis.pm:
# no Redis is needed here. xt/services/cluster.t has one.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use FakeRedis;
use Scalar::Util ();
use Storable ();
use Net::EasyTCP;
use Net::EasyTCP::Cluster;

$INC{'FakeRedis.pm'} = __FILE__;

# A worker: a server, its cluster, and clients, each with what it has received.
sub worker {
    my ($clients, %options) = @_;
    my $w = { gaps => 0, clients => [], hybrids => [] };
    my $class = delete $options{server_class};
    my %server = (donotencrypt => 1, donotcompress => 1, %{ delete $options{server} || {} });
    ($w->{server}, $w->{port}) = new_server(%server, $class ? (class => $class) : ());
    $w->{server}->setcallback(connect => sub { push @{ $w->{hybrids} }, $_[0] });
    $w->{cluster} = Net::EasyTCP::Cluster->new(
        server => $w->{server}, class => 'FakeRedis', stream => 's', gap => sub { $w->{gaps}++ }, %options,
    ) or die $@;
    add_client($w) for 1 .. $clients;
    return $w;
}

# One after the other, so that the n-th hybrid belongs to the n-th client.
sub add_client {
    my ($w) = @_;
    my $got = [];
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $w->{port}, async => 1)
        or die $@;
    $client->setcallback(data => sub { push @$got, scalar $_[0]->data });
    push @{ $w->{clients} }, { client => $client, got => $got };
    my $hybrids = @{ $w->{hybrids} };
    pump($w, sub { @{ $w->{hybrids} } > $hybrids });
    return $w->{clients}[-1];
}

# Rounds of all loops until the condition holds.
sub pump {
    my ($workers, $condition) = @_;
    my @workers = ref $workers eq 'ARRAY' ? @$workers : $workers;
    until ($condition->()) {
        foreach my $w (@workers) {
            $w->{server}->process(0.001) if $w->{server};
            $_->{client}->process foreach @{ $w->{clients} };
        }
    }
    return 1;
}

sub got { my ($w, $n) = @_; return $w->{clients}[ $n || 0 ]{got} }

# All has arrived that was sent before: a last message of each says so.
my $last = 0;
sub settle {
    my (@workers) = @_;
    my %end;
    foreach my $w (@workers) {
        my $text = 'the end ' . ++$last;
        $end{$text} = 1;
        $w->{cluster}->broadcast($text) or die $@;
    }
    my @got = map { $_->{got} } map { @{ $_->{clients} } } @workers;
    pump(\@workers, sub { !grep { @workers > grep { !ref && $end{$_} } @$_ } @got });
    @$_ = grep { ref || !$end{$_} } @$_ foreach @got;
    return;
}

# ---- making one ------------------------------------------------------------------------------------

{
    my $server = new_server();
    my %good = (server => $server, class => 'FakeRedis', stream => 's');
    my $number = 'must be a number between 1 and 1000000000';
    foreach my $case (
        [ server => undef,                 'Invalid server: must be a server of Net::EasyTCP' ],
        [ server => 'x',                   'Invalid server: must be a server of Net::EasyTCP' ],
        [ server => {},                    'Invalid server: must be a server of Net::EasyTCP' ],
        [ stream => undef,                 'Invalid stream: must be a name' ],
        [ stream => '',                    'Invalid stream: must be a name' ],
        [ gap    => 'x',                   'Invalid gap: must be a code reference' ],
        [ gap    => [],                    'Invalid gap: must be a code reference' ],
        [ maxlen => 0,                     "Invalid maxlen '0': $number" ],
        [ maxlen => '1e3',                 "Invalid maxlen '1e3': $number" ],
        [ queue  => -1,                    "Invalid queue '-1': $number" ],
        [ redis  => [], 'Invalid redis: must be an address, or a reference to a hash of options' ],
        [ class  => 'No::Such::Redis',     qr/^No::Such::Redis cannot be loaded: Can't locate No/ ],
        [ class  => 'x; y',                "Invalid class 'x; y': must be the name of one" ],
        [ class  => 'NoSocket',            'Cannot connect to Redis: NoSocket has no socket to watch' ],
    ) {
        my ($name, $value, $text) = @$case;
        $INC{'NoSocket.pm'} = __FILE__;
        is(Net::EasyTCP::Cluster->new(%good, $name => $value), undef, "a wrong $name");
        ref $text ? like($@, $text, 'is told') : is($@, $text, 'is told');
    }
    local $FakeRedis::Down = 1;
    is(Net::EasyTCP::Cluster->new(%good, redis => 'there:1'), undef, 'no Redis');
    is($@, 'Cannot connect to Redis: Could not connect to Redis server at there:1: Connection refused',
        'the reason');
    $FakeRedis::Down = 0;
    local $FakeRedis::Error = 'WRONGTYPE Operation against a key holding the wrong kind of value';
    is(Net::EasyTCP::Cluster->new(%good), undef, 'one that refuses');
    is($@, "Cannot connect to Redis: [eval] $FakeRedis::Error", 'the reason');
    $FakeRedis::Error = undef;
    is(scalar(FakeRedis::links()), 0, 'no connection is left');

    my $cluster = Net::EasyTCP::Cluster->new(%good, redis => '/run/redis') or die $@;
    is((FakeRedis::links())[0]{options}{sock}, '/run/redis', 'a path');
    $cluster = Net::EasyTCP::Cluster->new(%good, redis => { server => 'x:1', password => 'p' }) or die $@;
    is_deeply([ @{ (FakeRedis::links())[0]{options} }{qw(server password reconnect)} ], [ 'x:1', 'p', 0 ],
        'options');
    undef $cluster;
    is(scalar(FakeRedis::links()), 0, 'a dropped cluster closes its connections');
    FakeRedis::reset_all();
}

# ---- to all, once, and in one order ----------------------------------------------------------------

{
    my ($a, $b) = (worker(2), worker(2));
    is($a->{cluster}->connected, 1, 'connected');
    my @sent;
    foreach my $n (1 .. 300) {
        my $w = $n % 3 ? $a : $b;
        is($w->{cluster}->broadcast("message $n"), 1, "sent $n") if $n <= 2;
        $w->{cluster}->broadcast("message $n") if $n > 2;
        push @sent, "message $n";
        pump([ $a, $b ], sub { 1 }) if $n % 10 == 0;
    }
    settle($a, $b);
    my @order = @{ got($a) };
    is_deeply([ sort @order ], [ sort @sent ], 'each message came once');
    is_deeply(got($_->[0], $_->[1]), \@order, 'in one order for all') foreach [ $a, 1 ], [ $b, 0 ], [ $b, 1 ];
    my @of_a = map { [ grep { my ($n) = /([0-9]+)/; $n % 3 } @$_ ] } \@order, \@sent;
    is_deeply($of_a[0], $of_a[1], 'in that of each writer');
    is($a->{gaps} + $b->{gaps}, 0, 'no gap');
    @{ $_->{got} } = () foreach map { @{ $_->{clients} } } $a, $b;

    # Values.
    my $structure = { list => [ 1, 2.5, -1, 1e100, undef, 'text' ], deep => { er => \'x' } };
    my $exact = { booleans => [ !!1, !!0 ], sum => 0.1 + 0.2 };
    my @values = ('0', '', "\0\xff" x 1000, $structure, $exact, [], 'x' x 300_000);
    $a->{cluster}->broadcast($_) foreach @values;
    settle($a, $b);
    is_deeply(got($_->[0], $_->[1]), \@values, 'values arrive as they are') foreach [ $a, 0 ], [ $b, 1 ];
    @{ $_->{got} } = () foreach map { @{ $_->{clients} } } $a, $b;

    # Rooms and exceptions.
    $_->{hybrids}[0]->joinroom('lobby', "caf\xe9", "\x{263a}") foreach $a, $b;
    $a->{hybrids}[1]->joinroom('other');
    ok($a->{cluster}->broadcast('lobby', room => 'lobby'), 'to a room');
    ok($a->{cluster}->broadcast('wide', room => "\x{263a}"), 'with a wide name');
    ok($a->{cluster}->broadcast('latin', room => "caf\xe9"), 'with a narrow one');
    ok($a->{cluster}->broadcast('nobody', room => 'empty'), 'to one that nobody is in');
    ok($a->{cluster}->broadcast('but one', except => $a->{hybrids}[1]), 'to all but one');
    settle($a, $b);
    ok($b->{cluster}->broadcast('but two', except => [ @{ $b->{hybrids} } ]), 'to all but two');
    ok($b->{cluster}->broadcast('but none', except => []), 'to all but none');
    ok($b->{cluster}->broadcast('here', room => 'lobby', except => $b->{hybrids}[0]), 'to a room but one');
    settle($a, $b);
    is_deeply(got($a, 0), [ 'lobby', 'wide', 'latin', 'but one', 'but two', 'but none', 'here' ],
        'one who gets all');
    is_deeply(got($a, 1), [ 'but two', 'but none' ], 'one in another room');
    is_deeply(got($b, 0), [ 'lobby', 'wide', 'latin', 'but one', 'but none' ], 'one who is left out');
    is_deeply(got($b, 1), [ 'but one', 'but none' ], 'another one');

    # What cannot be sent.
    my $wrong = 'Invalid except: must be a client, or a reference to an array of at most 1000 clients';
    foreach my $case (
        [ [undef], 'Error sending data: Data not supplied' ],
        [ ["\x{263a}"], 'Error sending data: Wide character in data' ],
        [ [ 'x', except => 'x' ], $wrong ],
        [ [ 'x', except => [ $a->{hybrids}[0], undef ] ], $wrong ],
        [ [ 'x', except => [ ($a->{hybrids}[0]) x 1001 ] ], $wrong ],
    ) {
        is($a->{cluster}->broadcast(@{ $case->[0] }), undef, 'not sent');
        is($@, $case->[1], $case->[1]);
    }
    ok(!eval { $a->{cluster}->broadcast([ sub { } ]); 1 }, 'code dies');
    like($@, qr/^Can't store CODE items/, 'as it does in send');
    my $small = worker(0, server => { maxmessage => 100 });
    is($small->{cluster}->broadcast('x' x 101), undef, 'too long');
    like($@, qr/^Error sending data: /, 'is said');
    $small->{cluster}{longest} = 50;
    is($small->{cluster}->broadcast('x' x 51), undef, 'too long for Redis');
    is($@, 'Error sending data: size limit exceeded', 'is said, too');
    $a->{cluster}->broadcast('x' x 101);
    pump($small, sub { 1 });
    settle($a, $b);
    is($small->{gaps}, 0, 'one that is too long for another worker is not a gap');
    FakeRedis::reset_all();
}

# Old peers get what they can read, from one image.
{
    my $w = worker(1);
    my $old = raw_negotiate(raw_connect($w->{port}), loop_of($w->{server}));
    my $data = { double => 0.1, large => 2**40, text => 'x' };
    $w->{cluster}->broadcast($data);
    my ($flags, $payload) = read_packet($old, loop_of($w->{server}));
    is($flags & 2, 2, 'a structure');
    is_deeply(Storable::thaw($payload), $data, 'that Storable reads');
    pump($w, sub { @{ got($w) } });
    is_deeply(got($w)->[0], $data, 'the other one has it, too');
    FakeRedis::reset_all();
}

# ---- gaps ------------------------------------------------------------------------------------------

{
    my @told;
    my ($a, $b) = (worker(1), worker(1));
    my $c = worker(1, gap => sub { push @told, $_[0] });
    settle($a, $b, $c);
    FakeRedis::hold_back();
    $a->{cluster}->broadcast("lost $_") for 1 .. 5;
    pump($a, sub { $FakeRedis::Number == 8 });
    splice @FakeRedis::Entries, -5, 4;    # the last one is there
    FakeRedis::let_go();
    settle($a, $b, $c);
    is_deeply(got($_), ['lost 5'], 'what is there comes') foreach $a, $b, $c;
    is($a->{gaps}, 1, 'a hole is told, once');
    is($b->{gaps}, 1, 'to each worker');
    is_deeply(\@told, [ $c->{cluster} ], 'with the cluster');

    # Nothing comes after what was lost.
    FakeRedis::hold_back();
    my $number = $FakeRedis::Number;
    $a->{cluster}->broadcast('lost');
    pump($a, sub { $FakeRedis::Number > $number });
    pop @FakeRedis::Entries;
    FakeRedis::let_go();
    my $round = sub {
        FakeRedis::nothing();
        my $n = $FakeRedis::Reads;
        pump([ $a, $b, $c ], sub { $FakeRedis::Reads >= $n + 3 });
    };
    $round->();
    is($a->{gaps}, 1, 'it may be on its way the first time');
    $round->();
    is($_->{gaps}, 2, 'and is told the second time') foreach $a, $b;
    $round->() for 1 .. 3;
    is($_->{gaps}, 2, 'not again') foreach $a, $b;
    settle($a, $b, $c);
    is($_->{gaps}, 2, 'nor by the next message') foreach $a, $b;

    # The stream is deleted, its counter too, and both begin anew.
    @FakeRedis::Entries = ();
    $FakeRedis::Number = 0;
    settle($a, $b, $c);
    is($_->{gaps}, 3, 'a stream that begins anew is a gap') foreach $a, $b;
    @FakeRedis::Entries = ();
    settle($a, $b, $c);
    is($_->{gaps}, 3, 'one that is deleted when all was read is none') foreach $a, $b;

    # The clock of Redis goes back.
    @FakeRedis::Entries = ();
    $FakeRedis::Last = 1;
    $a->{cluster}->broadcast('unseen');
    pump($a, sub { @FakeRedis::Entries });
    $round->() for 1 .. 2;
    is($_->{gaps}, 4, 'entries that readers are past are found') foreach $a, $b;
    settle($a, $b, $c);
    is($_->{gaps}, 4, 'and then all goes on') foreach $a, $b;
    FakeRedis::reset_all();
}

# An exception of the code for gaps is the program's; nothing is lost by it.
{
    my $w = worker(1, gap => sub { die "on purpose\n" });
    FakeRedis::hold_back();
    $w->{cluster}->broadcast("message $_") for 1 .. 6;
    pump($w, sub { $FakeRedis::Number && $FakeRedis::Number == 6 });
    splice @FakeRedis::Entries, 1, 1;
    splice @FakeRedis::Entries, 3, 1;
    FakeRedis::let_go();
    my @died;
    until (@{ got($w) } == 4) {
        eval { pump($w, sub { @{ got($w) } == 4 }); 1 } or push @died, $@;
    }
    is_deeply(\@died, [ ("on purpose\n") x 2 ], 'each gap dies through the loop');
    is_deeply(got($w), [ map { "message $_" } 1, 3, 4, 6 ], 'all that is there is delivered');
    FakeRedis::reset_all();
}

# In it, the program may do what it wants.
{
    my $w;
    $w = worker(1, gap => sub {
        my $cluster = shift;
        $w->{gaps}++;
        $cluster->broadcast('fetch again');
        $w->{server}->process;
    });
    $w->{cluster}->broadcast('first');
    settle($w);
    $FakeRedis::Number += 5;
    settle($w);
    pump($w, sub { @{ got($w) } >= 2 });
    is_deeply(got($w), [ 'first', 'fetch again' ], 'a broadcast from the code for gaps, and a nested loop');
    is($w->{gaps}, 1, 'once');
    $w->{cluster}{gap} = sub { undef $w->{cluster} };
    $FakeRedis::Number += 5;
    $w->{cluster}->broadcast('last');
    pump($w, sub { !$w->{cluster} });
    is(scalar(FakeRedis::links()), 0, 'it may drop the cluster');
    $w = worker(1, gap => sub { undef $w->{server} });
    $FakeRedis::Number += 5;
    my $cluster = $w->{cluster};
    $cluster->broadcast('last');
    for (1 .. 1000) { last if !$w->{server}; $w->{server}->process(1) }
    is($w->{server}, undef, 'and the server');
    is($cluster->broadcast('x'), undef, 'then nothing is sent');
    is($@, 'The server is gone', 'as it says');
    is($cluster->connected, undef, 'nor is it connected');
    is($@, 'The server is gone', 'as it says');
    FakeRedis::reset_all();
}

# ---- Redis away ------------------------------------------------------------------------------------

{
    my ($a, $b) = (worker(1, queue => 10), worker(1));
    settle($a, $b);
    $FakeRedis::Down = 1;
    FakeRedis::cut();
    pump([ $a, $b ], sub { !$a->{cluster}->connected && !$b->{cluster}->connected });
    $a->{cluster}->connected;
    like($@, qr/\S/, "why: $@");
    is($a->{cluster}->broadcast("waits $_"), 1, 'a message waits') for 1 .. 10;
    is($a->{cluster}->broadcast('too much'), undef, 'up to the limit');
    is($@, 'Cluster queue is full', 'as it says');
    my $tries = 0;
    { no warnings 'redefine'; my $new = \&FakeRedis::new; *FakeRedis::new = sub { $tries++; $new->(@_) }; }
    pump([ $a, $b ], sub { $tries >= 3 });
    pass('it is tried again and again, without any traffic');
    $FakeRedis::Down = 0;
    pump([ $a, $b ], sub { @{ got($b) } >= 10 && @{ got($a) } >= 10 && $a->{cluster}->connected });
    settle($a, $b);
    is_deeply(got($_), [ map { "waits $_" } 1 .. 10 ], 'all that waited is sent, in order') foreach $a, $b;
    is($a->{gaps} + $b->{gaps}, 0, 'and nothing was missed');

    # Added, but the answer did not come: it is sent again, and delivered once.
    my $number = $FakeRedis::Number;
    $FakeRedis::Mute = 1;
    $a->{cluster}->broadcast("again $_") for 1 .. 3;
    pump([ $a, $b ], sub { @{ got($b) } >= 11 });
    $FakeRedis::Mute = 0;
    FakeRedis::cut();
    pump([ $a, $b ], sub {
        $FakeRedis::Number >= $number + 4 && $a->{cluster}->connected && $b->{cluster}->connected;
    });
    settle($a, $b);
    is(scalar(grep { grep { /^again/ } @{ $_->[1] } } @FakeRedis::Entries), 4, 'one is in the stream twice');
    foreach my $w ($a, $b) {
        is_deeply([ grep { /again/ } @{ got($w) } ], [ map { "again $_" } 1 .. 3 ],
            'what may have been added is sent again, and comes once');
    }
    is($a->{gaps} + $b->{gaps}, 0, 'and that is no gap');

    # What comes while a reader is away is found, or told.
    $FakeRedis::Down = 1;
    FakeRedis::cut();
    pump([ $a, $b ], sub { !$a->{cluster}->connected });
    $number = $FakeRedis::Number;
    @FakeRedis::Entries = ();
    $FakeRedis::Number = $number + 50;
    $FakeRedis::Down = 0;
    settle($a, $b);
    is($_->{gaps}, 1, 'what was lost meanwhile is told') foreach $a, $b;
    FakeRedis::reset_all();
}

# A request to a connection that has just broken.
{
    my $w = worker(1);
    FakeRedis::cut();
    ok($w->{cluster}->broadcast('kept'), 'a broadcast just when Redis goes');
    is($w->{cluster}->connected, undef, 'finds that out');
    like($@, qr/^Could not write to Redis server: /, 'without a signal');
    pump($w, sub { @{ got($w) } });
    is_deeply(got($w), ['kept'], 'and is sent later');
    FakeRedis::reset_all();
}

# A burst in one callback is more than the queue holds: it waits for Redis.
{
    my $w = worker(1, queue => 50);
    is(scalar(grep { !$w->{cluster}->broadcast($_) } 1 .. 1000), 0, 'a burst is taken');
    settle($w);
    is_deeply(got($w), [ 1 .. 1000 ], 'and delivered');
    FakeRedis::reset_all();
}

# One that hangs is waited for once.
{
    my $w = worker(1, queue => 5);
    my $waited = 0;
    no warnings 'redefine';
    my $wait = \&FakeRedis::wait_one_response;
    local *FakeRedis::wait_one_response = sub {
        return $wait->(@_) if @{ $_[0]{answers} } || !$FakeRedis::Mute;
        $waited++;
        die "Error while reading: Resource temporarily unavailable\n";
    };
    $FakeRedis::Mute = 1;
    ok($w->{cluster}->broadcast("waits $_"), 'a message waits') for 1 .. 5;
    is($w->{cluster}->broadcast('too much'), undef, 'the queue is full');
    is($waited, 1, 'after one look at Redis');
    pump($w, sub { my $links = grep { $_->{asked} && @{ $_->{asked} } } FakeRedis::links(); $links >= 2 });
    is($w->{cluster}->broadcast('too much'), undef, 'it is full while another connection is tried');
    is($waited, 1, 'which is not waited for');
    $FakeRedis::Mute = undef;
    FakeRedis::cut();
    pump($w, sub { @{ got($w) } >= 5 });
    is_deeply([ sort @{ got($w) } ], [ map { "waits $_" } 1 .. 5 ], 'then all is sent');
    FakeRedis::reset_all();
}

# Redis that refuses.
{
    my $w = worker(1, queue => 5);
    $FakeRedis::Error = 'OOM command not allowed';
    $w->{cluster}->broadcast('kept');
    pump($w, sub { !$w->{cluster}->connected });
    $w->{cluster}->connected;
    is($@, '[eval] OOM command not allowed', 'the reason is told');
    $FakeRedis::Error = undef;
    pump($w, sub { @{ got($w) } });
    is_deeply(got($w), ['kept'], 'what it refused waits');
    FakeRedis::reset_all();
}

# ---- what others put there -------------------------------------------------------------------------

{
    my ($w, $bystander) = (worker(1), worker(1));
    my $me = '0123456789abcdef';
    my %good = (n => 1, h => "1 $me 1 0 ", r => '', d => 'x', o => '');
    my @foreign = (
        [], ['a'], [ a => 1 ], [ %good, more => 1 ], [ n => 1, n => 2, h => 1, r => 1, d => 1 ],
        map { my %entry = (%good, @$_); [ map { $_ => $entry{$_} } qw(n h r d o) ] }
            [ n => 0 ], [ n => -1 ], [ n => 'x' ], [ n => '1' x 30 ], [ n => "1\n" ], [ n => undef ],
            [ d => undef ], [ d => [] ], [ d => "\x{263a}" ],
            [ h => '' ], [ h => "2 $me 1 0 " ], [ h => "1 $me 0 0 " ], [ h => "1 $me 1 16 " ],
            [ h => '1 x 1 0 ' ],
            [ h => "1 $me 1 0 x" ], [ h => "1 $me 1 0 1,,2" ], [ h => "1 $me 1 0 " . join ',', 1 .. 1001 ],
            [ h => "1 $me 1 0 \n" ],
    );
    settle($w, $bystander);
    my $number = $FakeRedis::Number;
    FakeRedis::add_fields($_) foreach @foreign;
    FakeRedis::add_fields(undef);
    settle($w, $bystander);
    is_deeply(got($w), [], 'what is none of ours is not delivered');
    is($w->{gaps}, 0, 'and is no gap');

    # Ours by their form, and odd.
    my $next = sub { return [ n => ++$FakeRedis::Number, @_ ] };
    FakeRedis::add_fields($next->(h => "1 $me 1 2 ", r => "\xff", d => 'no room', o => ''));
    my $serial = $w->{hybrids}[0]->serial;
    FakeRedis::add_fields($next->(h => "1 $me 2 0 $serial", r => '', d => 'for all here', o => ''));
    FakeRedis::add_fields($next->(h => "1 $me 3 7 1,2", r => '', d => '', o => ''));
    FakeRedis::add_fields($next->(h => "1 $me 4 13 ", r => '', d => 'one form short', o => "\0\0"));
    FakeRedis::add_fields($next->(h => "1 $me 5 0 ", r => '', d => 'good', o => ''));
    FakeRedis::add_fields($next->(h => "1 $me 5 0 ", r => '', d => 'again', o => ''));
    settle($w, $bystander);
    is_deeply(got($w), [ 'for all here', 'good' ], 'odd ones are left out, good ones delivered');
    is($w->{gaps}, 0, 'none of them is a gap');

    # Answers that are no stream.
    foreach my $garbage (
        'text', [], [ [] ], [ ['s'] ], [ [ 's', 'x' ] ], [ [ 's', ['x'] ] ], [ [ 's', [ [ 'x', [] ] ] ] ],
        {}, \'x',
    ) {
        FakeRedis::garbage($garbage);
        pump([ $w, $bystander ], sub { !$w->{cluster}->connected && !$bystander->{cluster}->connected });
        pump([ $w, $bystander ], sub { $w->{cluster}->connected && $bystander->{cluster}->connected });
        pass('garbage is answered by another connection');
        # For the next pause to be short.
        $_->{cluster}{failures} = { reader => 0, writer => 0 } foreach $w, $bystander;
    }
    settle($w, $bystander);
    is($w->{gaps}, 0, 'nothing is missed by it');
    FakeRedis::reset_all();
}

# Many writers are forgotten by and by.
{
    my $w = worker(1);
    foreach my $writer (1 .. 12_000) {
        my $header = sprintf '1 %016x 1 0 ', $writer;
        my @entry  = (h => $header, r => 'nowhere', d => $writer, o => '');
        FakeRedis::add_fields([ n => ++$FakeRedis::Number, @entry ]);
    }
    settle($w);
    ok(keys %{ $w->{cluster}{seen} } <= 5000, 'a bounded number is kept');
    is(scalar @{ got($w) }, 12_000, 'all are heard');
    FakeRedis::reset_all();
}

# ---- life ------------------------------------------------------------------------------------------

{
    my $w = worker(0);
    my ($server, $cluster) = @$w{qw(server cluster)};
    Scalar::Util::weaken($server);
    Scalar::Util::weaken($cluster);
    delete $w->{server};
    is($server, undef, 'a cluster keeps no server');
    is($w->{cluster}->broadcast('x'), undef, 'and sends nothing without one');
    delete $w->{cluster};
    is($cluster, undef, 'nothing keeps a cluster');
    is(scalar(FakeRedis::links()), 0, 'nor its connections');

    $w = worker(1);
    delete $w->{cluster};
    is(scalar(FakeRedis::links()), 0, 'dropped before its server');
    is(scalar(grep { $w->{server}->process(0.01) } 1 .. 3), 3, 'the server goes on');

    # Two on one server.
    $w = worker(1);
    my $other = Net::EasyTCP::Cluster->new(server => $w->{server}, class => 'FakeRedis', stream => 's')
        or die $@;
    $other->broadcast('twice');
    settle($w);
    pump($w, sub { @{ got($w) } == 2 });
    is_deeply([ grep { $_ eq 'twice' } @{ got($w) } ], [ 'twice', 'twice' ],
        'two clusters on one server deliver both');
    FakeRedis::reset_all();
}

# A child has connections of its own, and another name. (Its Redis is a copy.)
{
    my $w = worker(0);
    $w->{cluster}->broadcast('before');
    $w->{server}->process(0.01) for 1 .. 3;
    my ($made, $name) = ($FakeRedis::Made, $w->{cluster}{me});
    my $child = spawn(sub {
        my $me = shift;
        $w->{server}->process(1) until $FakeRedis::Made >= $made + 2 && $w->{cluster}->connected;
        $me->report($w->{cluster}{me} ne $name ? 'another name' : 'the same name');
        $me->report($w->{cluster}->connected ? 'connected' : $@);
        $w->{cluster}->broadcast('of the child') or $me->report($@);
        $me->report("$FakeRedis::Made - $made");
        $w->{server}->process(0.01) for 1 .. 20;
        $me->report("$FakeRedis::Made - $made");
    });
    is($child->line, 'another name', 'the child has another name');
    is($child->line, 'connected', 'and is connected');
    is($child->line, "@{[ $made + 2 ]} - $made", 'by connections of its own');
    is($child->line, "@{[ $made + 2 ]} - $made", 'once');
    $child->wait;
    add_client($w);
    $w->{cluster}->broadcast('after');
    settle($w);
    is_deeply(got($w), ['after'], 'its parent goes on');
    is($w->{gaps}, 0, 'without a gap');

    $child = spawn(sub {
        my $me = shift;
        $w->{cluster}->broadcast('at once') or $me->report($@);
        $me->report("$FakeRedis::Made - $made");
    });
    is($child->line, "@{[ $made + 2 ]} - $made", 'a child that broadcasts first connects then');
    FakeRedis::reset_all();
}

# So has a thread.
SKIP: {
    skip 'no threads here', 2 if !threads_usable();
    my $w = worker(0);
    my ($made, $name) = ($FakeRedis::Made, $w->{cluster}{me});
    my $said = threads->create(sub {
        my $ok = $w->{cluster}->broadcast('of the thread') ? 'sent' : $@;
        return join ' ', $ok, $FakeRedis::Made - $made, $w->{cluster}{me} ne $name ? 'another' : 'the same';
    })->join;
    is($said, 'sent 2 another', 'a thread has connections and a name of its own');
    $w->{cluster}->broadcast('after');
    add_client($w);
    settle($w);
    is($w->{gaps}, 0, 'the other thread goes on');
    FakeRedis::reset_all();
}

{
    package NoSocket;
    sub new { return bless [], shift }
    sub eval { return }
}

{
    package Sub::Server;
    our @ISA = ('Net::EasyTCP');
    sub room { die 'room() of the program' }
    sub client { die 'client() of the program' }
    sub watch { die 'watch() of the program' }
}

{
    my $w = worker(1, server_class => 'Sub::Server');
    $w->{hybrids}[0]->joinroom('r');
    $w->{cluster}->broadcast('x', room => 'r');
    $w->{cluster}->broadcast('y', except => $w->{hybrids}[0]);
    settle($w);
    is_deeply(got($w), ['x'], 'methods of subclasses are left alone');
}

done_testing();
