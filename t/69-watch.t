# watch() and unwatch(): descriptors of the program in our loop.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Scalar::Util ();
use Net::EasyTCP;

sub new_pipe {
    pipe(my $r, my $w) or die "pipe: $!";
    return ($r, $w);
}

sub take {
    my ($handle) = @_;
    sysread $handle, my $bytes, 100;
    return $bytes;
}

# Rounds until the condition holds; each may wait for as long as it takes.
sub rounds_until {
    my ($object, $condition) = @_;
    for (1 .. 1000) {
        return 1 if $condition->();
        $object->process(5);
    }
    return 0;
}

# All that is noted by now is told.
sub settle { my ($object) = @_; $object->process(0.01) for 1 .. 3; return }

sub server { return (new_server(donotencrypt => 1, donotcompress => 1, @_))[0] }

# ---- reading -----------------------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    is($server->watch($r, sub { push @seen, [@_]; push @seen, take($r) }), 1, 'watched');
    settle($server);
    is_deeply(\@seen, [], 'nothing to read, nothing is called');
    syswrite $w, 'one';
    ok(rounds_until($server, sub { @seen }), 'called');
    is_deeply(\@seen, [ [ $server, $r ], 'one' ], 'with the object and the handle');
    @seen = ();
    settle($server);
    is_deeply(\@seen, [], 'and not again');

    is($server->watch($r, sub { push @seen, 'other'; take($r); $server->stop }), 1, 'watched anew');
    syswrite $w, 'two';
    ok($server->start, 'start serves it');
    is_deeply(\@seen, ['other'], 'and calls the later code alone');

    @seen = ();
    is($server->unwatch($r), 1, 'unwatched');
    syswrite $w, 'three';
    settle($server);
    is_deeply(\@seen, [], 'nothing is called any more');
    is($server->unwatch($r), 1, 'unwatching twice does no harm');
    is($server->unwatch(\*STDIN), 1, 'nor does what was never watched');
    is($server->unwatch(undef), 1, 'nor undef');
    is($server->watch($r, sub { push @seen, take($r) }), 1, 'watched once more');
    ok(rounds_until($server, sub { @seen }), 'what is there already counts');
    is_deeply(\@seen, ['three'], 'the code reads it');

    @seen = ();
    is($server->watch($r, sub { push @seen, 'end'; $_[0]->unwatch($_[1]) }), 1, 'the code may end the watch');
    close $w;
    ok(rounds_until($server, sub { @seen }), 'the end of the other side is something to read');
    settle($server);
    is_deeply(\@seen, ['end'], 'once');
}

# By its number, too; and both name the same.
{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    ok($server->watch(fileno $r, sub { push @seen, $_[1], take($r) }), 'a number');
    syswrite $w, 'x';
    ok(rounds_until($server, sub { @seen }), 'is watched');
    is_deeply(\@seen, [ fileno $r, 'x' ], 'and is what the code gets');
    ok($server->unwatch($r), 'its handle');
    syswrite $w, 'x';
    @seen = ();
    settle($server);
    is_deeply(\@seen, [], 'names the same');
}

# ---- what cannot be watched ----------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my $code = sub { };
    foreach my $case (
        [ 'a closed handle', do { my ($h) = new_pipe(); close $h; $h }, qr/^Cannot watch the handle: \S/ ],
        [ 'a handle in memory', do {
            open my $h, '<', \'text' or die $!;
            $h;
        }, qr/^Cannot watch the handle: \S/ ],
        [ 'a file', do { open my $h, '<', $0 or die $!; $h }, qr/^Cannot watch the handle: \S/ ],
        [ 'a number that is closed', 987, qr/^Cannot watch the handle: \S/ ],
        [ 'undef', undef, qr/^Cannot watch the handle: \S/ ],
        [ 'a text', 'no handle', qr/^Cannot watch the handle: \S/ ],
    ) {
        my ($name, $handle, $text) = @$case;
        is($server->watch($handle, $code), undef, "$name is refused");
        like($@, $text, 'with the reason');
    }
    foreach my $wrong (undef, 'main::code', [], bless(sub { }, 'Some::Class')) {
        is($server->watch($r, $wrong), undef, 'no code');
        is($@, 'watch() needs a code reference', 'is said');
    }
    my $raising = server(raiseerror => 1);
    ok(!eval { $raising->watch($r, 1); 1 }, 'raiseerror');
    like($@, qr/^watch\(\) needs a code reference at /, 'dies of it');
    my $echo = spawn_server(donotencrypt => 1);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or die $@;
    is($client->watch($r, $code), undef, 'a client that waits has no loop');
    is($@, 'client cannot use method watch()', 'and says so');
    is($client->unwatch($r), undef, 'nor unwatch');
    is($@, 'client cannot use method unwatch()', 'which says so, too');
    ok(!eval { Net::EasyTCP::watch({}, $r, $code); 1 }, 'what is no object dies');
    $echo->kill('TERM');
}

# ---- handles that are closed ---------------------------------------------------------------------

foreach my $poller ('', 'poll') {
    local $ENV{NET_EASYTCP_POLLER} = $poller if $poller;
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    $server->watch($r, sub { push @seen, 'old' });
    my $number = fileno $r;
    close $r;
    settle($server);
    $SIG{PIPE} = 'IGNORE';
    ok(!defined syswrite($w, 'x'), 'a closed handle is not kept open by its watch');
    my ($r2, $w2) = new_pipe();
    is(fileno $r2, $number, 'another handle has its number');
    syswrite $w2, 'x';
    settle($server);
    is_deeply(\@seen, [], 'which is not taken for it');
    ok($server->watch($r2, sub { push @seen, take($r2) }), 'and may be watched');
    ok(rounds_until($server, sub { @seen }), 'by its own code');
    is_deeply(\@seen, ['x'], 'alone');

    # Closed and opened again between two rounds, as another file.
    close $r2;
    my ($r3, $w3) = new_pipe();
    @seen = ();
    syswrite $w3, 'x';
    settle($server);
    is_deeply(\@seen, [], 'whose watch ends with it, too');

    # By number nobody can know, but what is read is not another's.
    my ($r4, $w4) = new_pipe();
    my $bare = fileno $r4;
    ok($server->watch($bare, sub { push @seen, 'number' }), 'watched by number');
    close $r4;
    my ($r5, $w5) = new_pipe();
    is(fileno $r5, $bare, 'the number is another pipe');
    syswrite $w5, 'x';
    close $w4;
    settle($server);
    is_deeply(\@seen, [], 'of which the code hears nothing');

    # A handle that nobody else holds lives as long as it is watched.
    my ($r6, $w6) = new_pipe();
    my $weak = $r6;
    Scalar::Util::weaken($weak);
    $server->watch($r6, sub { push @seen, take($_[1]) });
    undef $r6;
    syswrite $w6, 'kept';
    ok(rounds_until($server, sub { @seen }), 'kept');
    is_deeply(\@seen, ['kept'], 'and read');
    $server->unwatch($weak);
    is($weak, undef, 'until it is not');
}

# Reopened by the program while it is watched.
{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    $server->watch($r, sub { push @seen, 'called' });
    my ($other, $other_w) = new_pipe();
    open $r, '<&', $other or die $!;
    syswrite $other_w, 'x';
    settle($server);
    is_deeply(\@seen, [], 'a handle that became another file is not watched');
    undef *$r;
    settle($server);
    is_deeply(\@seen, [], 'nor one without a file');
}

# ---- tied handles --------------------------------------------------------------------------------

{
    package Tied;
    our $OnFileno;
    sub TIEHANDLE { my ($class, $handle) = @_; return bless { handle => $handle }, $class }
    sub FILENO { my ($self) = @_; $OnFileno->() if $OnFileno; return fileno $self->{handle} }
}

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    my $tied = do { no warnings 'once'; local *FH; \*FH };
    tie *$tied, 'Tied', $r;
    ok($server->watch($tied, sub { push @seen, $_[1], take($r) }), 'a tied handle');
    syswrite $w, 'x';
    ok(rounds_until($server, sub { @seen }), 'is watched');
    is_deeply(\@seen, [ $tied, 'x' ], 'and handed back');
    local $Tied::OnFileno = sub { undef $server };
    ok($server->watch($tied, sub { }), 'its FILENO may drop the server');
    is($server, undef, 'which goes');
    $server = server();
    $Tied::OnFileno = sub { die "on purpose\n" };
    is($server->watch($tied, sub { }), undef, 'or die');
    like($@, qr/^Cannot watch the handle/, 'then it has no number');
    $Tied::OnFileno = undef;
    @seen = ();
    ok($server->watch($tied, sub { push @seen, take($r) }), 'watched again');
    close $r;
    settle($server);
    ok($server->unwatch($tied), 'and ended, though it has no number any more');
}

# ---- what the code may do --------------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    $server->watch($r, sub { push @seen, 'dies'; take($r); die "on purpose\n" });
    syswrite $w, 'x';
    my $died = 0;
    rounds_until($server, sub { eval { $server->process(5); 1 } or $died = $@; $died });
    is($died, "on purpose\n", 'an exception goes through the loop');
    syswrite $w, 'x';
    ok(!eval { $server->start; 1 }, 'through start, too');
    is($@, "on purpose\n", 'as it is');
    is_deeply(\@seen, [ 'dies', 'dies' ], 'and the watch goes on');

    # Nested loops, topics, and the values it returns.
    $server->watch($r, sub {
        my $text = take($r);
        push @seen, $text;
        $_ = 'changed';
        $server->process if $text eq 'nest';
        return (1) x 100;
    });
    @seen = ();
    for ('topic') {
        syswrite $w, 'nest';
        rounds_until($server, sub { @seen });
        is($_, 'topic', 'its $_ is its own');
    }
    is_deeply(\@seen, ['nest'], 'it may run the loop');

    # Dropping everything.
    my $other = server();
    my ($r2, $w2) = new_pipe();
    $other->watch($r2, sub { undef $other; undef $r2; push @seen, 'dropped' });
    @seen = ();
    syswrite $w2, 'x';
    for (1 .. 100) { last if !$other; $other->process(5) }
    is_deeply(\@seen, ['dropped'], 'it may drop the server and the handle');
    $SIG{PIPE} = 'IGNORE';
    ok(!defined syswrite($w2, 'x'), 'which are gone then');

    # Close inside.
    my ($r3, $w3) = new_pipe();
    @seen = ();
    $server->watch($r3, sub { push @seen, 'closed'; close $_[1] });
    syswrite $w3, 'xx';
    rounds_until($server, sub { @seen });
    settle($server);
    is_deeply(\@seen, ['closed'], 'it may close the handle');
}

# One of several that ends the others.
{
    my $server = server();
    my @pipes = map { [ new_pipe() ] } 1 .. 20;
    my $called = 0;
    foreach my $pipe (@pipes) {
        $server->watch($pipe->[0], sub { $called++; $server->unwatch($_->[0]) for @pipes });
        syswrite $pipe->[1], 'x';
    }
    rounds_until($server, sub { $called });
    settle($server);
    is($called, 1, 'who ends the watches of others ends what was noted for them');
}

# The program's destructors, when code or handle go.
{
    package Guard;
    sub new { my ($class, $code) = @_; return bless [$code], $class }
    sub DESTROY { $_[0][0]->(); return }
}

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @gone;
    {
        my $guard = Guard->new(sub { push @gone, 'code'; $server->watch($r, sub { }) });
        $server->watch($r, sub { $guard });
    }
    $server->unwatch($r);
    is_deeply(\@gone, ['code'], 'a destructor may watch again');
    {
        my $guard = Guard->new(sub { push @gone, 'server'; undef $server });
        $server->watch($r, sub { $guard });
    }
    is($server->watch($r, sub { }), 1, 'or drop the server while it is asked to watch');
    is($server, undef, 'which goes');
}

# ---- whose it is -----------------------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my $weak = $server;
    Scalar::Util::weaken($weak);
    $server->watch($r, sub { $_[0]->stop });
    undef $server;
    is($weak, undef, 'a watch keeps no server');
    $SIG{PIPE} = 'IGNORE';
    undef $r;
    ok(!defined syswrite($w, 'x'), 'and a dropped server keeps no handle');
}

{
    my $echo = spawn_server(donotencrypt => 1, donotcompress => 1);
    my %to = (mode => 'client', host => '127.0.0.1', port => $echo->{port}, async => 1);
    my $client = Net::EasyTCP->new(%to) or die $@;
    my ($r, $w) = new_pipe();
    my @seen;
    ok($client->watch($r, sub { push @seen, $_[0] == $client, take($r) }), 'an async client watches');
    syswrite $w, 'x';
    ok(rounds_until($client, sub { @seen }), 'in its own loop');
    is_deeply(\@seen, [ 1, 'x' ], 'and is what the code gets');
    $client->close;
    @seen = ();
    syswrite $w, 'x';
    $client->process(0.01) for 1 .. 3;
    is_deeply(\@seen, [], 'until it is closed');

    {
        my $host = Net::EasyTCP->new(%to) or die $@;
        my $guest = Net::EasyTCP->new(%to, loop => $host) or die $@;
        $guest->watch($r, sub { push @seen, take($r) });
        $host->close;
        ok(rounds_until($guest, sub { @seen }), 'the close of its host ends nothing');
        @seen = ();
        syswrite $w, 'x';
    }

    my $server = server();
    my $guest = Net::EasyTCP->new(%to, loop => $server) or die $@;
    ok($guest->watch($r, sub { push @seen, $_[0] == $guest, take($r) }), 'as a guest');
    ok(rounds_until($server, sub { @seen }), 'it is the loop of its host that watches');
    is_deeply(\@seen, [ 1, 'x' ], 'for the guest');
    @seen = ();
    undef $guest;
    syswrite $w, 'x';
    settle($server);
    is_deeply(\@seen, [], 'until that is gone');
    $guest = Net::EasyTCP->new(%to, loop => $server) or die $@;
    $guest->watch($r, sub { });
    undef $server;
    is($guest->watch($r, sub { }), undef, 'without a host there is no loop');
    is($@, 'The loop of this client is gone', 'as it says');
    is($guest->unwatch($r), undef, 'and nothing to unwatch');
    undef $guest;
    $echo->kill('TERM');
}

# ---- children ----------------------------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my @seen;
    $server->watch($r, sub { push @seen, take($r) });
    my $child = spawn(sub {
        my $me = shift;
        $me->report('up');
        rounds_until($server, sub { @seen });
        $me->report("child: @seen");
        $server->unwatch($r);
        $me->report('unwatched');
    });
    is($child->line, 'up', 'a child');
    syswrite $w, 'x';
    is($child->line, 'child: x', 'goes on watching');
    is($child->line, 'unwatched', 'and ends it');
    syswrite $w, 'y';
    ok(rounds_until($server, sub { @seen }), 'for itself');
    is_deeply(\@seen, ['y'], 'the parent goes on');
}

# ---- other loops ---------------------------------------------------------------------------------------

SKIP: {
    my $server = server();
    my $fd = $server->pollfd;
    skip 'No pollable descriptor', 4 if !defined $fd;
    my ($r, $w) = new_pipe();
    my @seen;
    my $readable = sub { vec(my $bits = '', $fd, 1) = 1; return scalar select $bits, undef, undef, $_[0] };
    ok($server->watch($r, sub { push @seen, take($r) }), 'watched by a server that is watched');
    $server->process;
    ok(!$readable->(0), 'silent');
    syswrite $w, 'x';
    ok($readable->(30), 'heard of');
    $server->process;
    is_deeply(\@seen, ['x'], 'and read');
}

# Servers in the loop of another.
SKIP: {
    my ($outer, $inner) = (server(), server());
    my $handle = $inner->pollhandle or skip 'No pollable descriptor', 2;
    my $served = 0;
    $inner->setcallback(connect => sub { $served++ });
    ok($outer->watch($handle, sub { $inner->process }), 'a server in the loop of another');
    my $port = $inner->port;
    my $child = spawn(sub {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
    });
    ok(rounds_until($outer, sub { $served }), 'is served');
}

# ---- a server that ends ----------------------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    $server->watch($r, sub { });
    $server->finish(0);
    ok($server->start, 'finish does not wait for what is watched');
}

# ---- moments, for the modules of this distribution -----------------------------------------------------

{
    my $server = server();
    my @seen;
    is($server->polltimeout, undef, 'nothing is due');
    ok(Net::EasyTCP::_wake($server, 1000, sub { push @seen, 'late' }), 'a moment to come');
    my $due = $server->polltimeout;
    ok($due > 900 && $due <= 1000, "is due then: $due");
    ok(Net::EasyTCP::_wake($server, 0, sub { push @seen, $_[0] == $server }), 'one that is now');
    ok(rounds_until($server, sub { @seen }), 'comes');
    settle($server);
    is_deeply(\@seen, [1], 'once');
    is(Net::EasyTCP::_wake($server, 0, 'x'), undef, 'needs code');
}

# ---- memory -------------------------------------------------------------------------------------------

{
    my $server = server();
    my ($r, $w) = new_pipe();
    my $descriptors = sub { my $n = 0; for my $fd (0 .. 100) { $n++ if open my $h, "<&$fd" } return $n };
    my $before = $descriptors->();
    foreach (1 .. 200) {
        $server->watch($r, sub { });
        $server->unwatch($r) if $_ % 2;
        $server->watch(987, sub { });
    }
    $server->unwatch($r);
    is($descriptors->(), $before, 'no descriptor is left');
}

done_testing();
