# Destructors of what a program has left with servers and clients, in callbacks, watches, requests, $_ and
# $@: they run when nothing is half freed, and may drop, close and run anything. AddressSanitizer sees what
# else went wrong.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use POSIX ();
use Net::EasyTCP;

my $PATIENCE = 30;

{
    package Guard;
    sub new { my ($class, $code) = @_; return bless { code => $code }, $class }
    sub DESTROY { my $code = delete $_[0]{code}; $code->() if $code; return }

    package Held;    # what a handle is tied to
    sub TIEHANDLE { return $_[1] }

    package Sub;
    our @ISA = ('Net::EasyTCP');
    our $Action;
    sub DESTROY { my $action = $Action; $action->($_[0]) if $action; return }
}

sub process_until {
    my ($server, $condition) = @_;
    my $late = time + $PATIENCE;
    until ($condition->()) {
        $server->process(0.1) or die $@;
        die 'it does not come' if time > $late;
    }
    return;
}

# A server, an async client that is connected in its loop, and the server's side of that.
sub pair {
    my %o = @_;
    my ($server, $port) = new_server(donotencrypt => 1, %o);
    my $other;
    $server->setcallback(connect => sub { $other = $_[0] });
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
        loop => $server, donotencrypt => 1) or die $@;
    my $is_up;
    $client->setcallback(connect => sub { $is_up = 1 });
    process_until($server, sub { $other && $is_up });
    $server->setcallback(connect => sub { });
    return ($server, $client, $other);
}

my @pipe;
my %left_with = (
    'a request'          => sub { my ($o, $guard) = @_; $o->request('x', sub { my $kept = $guard }) },
    'a request in time'  => sub {
        my ($o, $guard) = @_;
        $o->request('x', sub { my $kept = $guard }, timeout => 99);
    },
    'a watch'            => sub {
        my ($o, $guard) = @_;
        pipe my $r, my $w or die $!;
        push @pipe, $r, $w;
        $o->watch($r, sub { my $kept = $guard }) or die $@;
    },
    'the first of two watches' => sub {
        my ($o, $guard) = @_;
        foreach my $kept ($guard, undef) {
            pipe my $r, my $w or die $!;
            syswrite $w, 'x' if !$kept;
            push @pipe, $r, $w;
            $o->watch($r, sub { my $also = $kept; fail('a watch that is gone') }) or die $@;
        }
    },
    'a moment'           => sub {
        my ($o, $guard) = @_;
        Net::EasyTCP::_wake($o, 99, sub { my $kept = $guard });
    },
    'a callback'         => sub { my ($o, $guard) = @_; $o->setcallback(drain => sub { my $kept = $guard }) },
    'the object'         => sub { my ($o, $guard) = @_; $o->{guard} = $guard },
    'a tied handle'      => sub { my ($o, $guard) = @_; tie *{ $o->{_sock} || $o->socket }, 'Held', $guard },
);

# ---- a client goes: its destructor runs the loop that it was in --------------------------------------------

foreach my $what (sort keys %left_with) {
    my ($server, $client, $other) = pair();
    my ($called, $ran) = (0, 0);
    $client->setcallback(map { $_ => sub { $called++ } } qw(data disconnect error));
    $left_with{$what}->($client, Guard->new(sub {
        $other->send("message $_") foreach 1 .. 3;
        $server->process(0.05) foreach 1 .. 5;
        $ran++;
    }));
    undef $client;
    is($ran, 1, "$what: the destructor ran");
    is($called, 0, "$what: the client that went was not called back");
}

# ---- a server goes: a destructor uses the clients in its loop ----------------------------------------------

my %use = (
    'process()'   => sub { $_[0]->process(0.01) },
    'watch()'     => sub { pipe my $r, my $w or die $!; push @pipe, $r, $w; $_[0]->watch($r, sub { }) },
    'request()'   => sub { $_[0]->request('x', sub { }, timeout => 1) },
    'pollhandle()' => sub { $_[0]->pollhandle },
    'a new one'   => sub {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => 1, async => 1, loop => $_[0]);
    },
);

delete @left_with{ 'a request', 'a request in time' };
foreach my $what (sort keys %left_with) {
    foreach my $how (sort keys %use) {
        my ($server, $client) = pair();
        my ($ran, $result, $text) = (0);
        $left_with{$what}->($server, Guard->new(sub { $ran++; $result = $use{$how}->($client); $text = $@ }));
        undef $server;
        is($ran, 1, "$what, $how: the destructor ran");
        is($result, undef, "$what, $how: it fails");
        like($text, qr/^The loop of this client is gone|Socket handle not supplied/, "$what, $how: a reason");
    }
}

# The server's clients are objects of its class.
foreach my $how (sort keys %use) {
    my ($server, $client, $other) = pair(class => 'Sub');
    undef $other;
    my @results;
    local $Sub::Action = sub { push @results, $use{$how}->($client) if $_[0]{_mode} eq 'serverclient' };
    undef $server;
    is_deeply(\@results, [undef], "a subclass, $how: its destructor ran, and failed");
}

# ---- callbacks leave what has a destructor, and what they hold goes ----------------------------------------

my %leave = (
    '$_[0] is emptied'        => sub { $_[0][0] = undef },
    '$_[0] gets an object'    => sub { $_[0][0] = Guard->new($_[1]) },
    '$_ gets an object'       => sub { $_ = Guard->new($_[1]) },
    '$@ gets an object'       => sub { $@ = Guard->new($_[1]) },
);
foreach my $what (sort keys %leave) {
    my ($server, $client, $other) = pair();
    my ($count, $left) = (0, 0);
    undef $other;
    $client->setcallback(disconnect => sub { $left++ });
    $server->setcallback(data => sub {
        my $mine = $_[0];
        $count++;
        $mine->data;
        my $leave = sub { $mine->close; undef $mine; $server->process(0.01) foreach 1 .. 5 };
        $leave{$what}->(\@_, $leave);
        $leave->() if $what =~ /emptied/;
        $server->process(0.01) foreach 1 .. 5;
        $client->send("\x{263a}");    # fails
    });
    $client->send("message $_") foreach 1 .. 3;
    process_until($server, sub { $left });
    ok($count, "$what: messages came");
    is(scalar($server->clientlist), 0, "$what: the client is gone");
}

# A client with a loop of its own, and one that is dropped by its own callback.
foreach my $loops (0, 1) {
    my ($server, $client, $other) = pair();
    my $count = 0;
    if (!$loops) {
        my $port = $server->port;
        $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
            donotencrypt => 1) or die $@;
        undef $other;
        $server->setcallback(connect => sub { $other = $_[0] });
        process_until($server, sub { $client->process(0.01); $other });
    }
    $client->setcallback(data => sub {
        $count++;
        $_[0] = undef;
        undef $client;
        $server->process(0.01) foreach 1 .. 5;
    });
    $other->send("message $_") foreach 1 .. 3;
    process_until($server, sub { $client->process(0.01) if $client; $count });
    ok($count, 'a client is dropped by its own callback' . ($loops ? '' : ', with its loop'));
    $server->process(0.01) foreach 1 .. 5;
    ok(!$server->clientlist, 'and has closed');
}

# An exception frees what is temporary before it leaves the loop.
foreach my $how (qw(close drop)) {
    my ($server, $client, $other) = pair();
    my $left;
    $client->request('x', sub {
        $left = Guard->new(sub { $server->process(0.01) });
        $client->close if $how eq 'close';
        undef $client;
        die "a request\n";
    });
    $other->close;
    ok(!eval { $server->process(10) }, "$how: a request that drops its client and dies");
    is($@, "a request\n", "$how: its exception");
    $server->process(0.01) foreach 1 .. 5;
    is(scalar($server->clientlist), 0, "$how: the loop goes on");
}

# A loop that cannot go on, run by a client that its own callback has dropped.
SKIP: {
    my ($server, $client, $other) = pair();
    my @pollers = grep { (readlink "/proc/self/fd/$_" || '') =~ /eventpoll/ } 3 .. 99;
    skip 'the poller is not known here', 1 if !@pollers;
    $client->setcallback(data => sub {
        $_[0] = undef;
        undef $client;
        POSIX::close($_) foreach @pollers;
    });
    $other->send('x');
    is($client->start, undef, 'start() fails, of a client that is gone');
    like($@, qr/^Error while waiting for connections/, 'and says why');
}

# A glob that is tied, not a reference to one.
{
    package Dropping;
    our $Drop;
    sub TIEHANDLE { return bless {}, $_[0] }
    sub FILENO { $Drop->(); return 0 }
}
foreach my $method (qw(watch unwatch)) {
    my ($server, $client) = pair();
    tie *TIED, 'Dropping';
    local $Dropping::Drop = sub { undef $client; $server->process(0.01) foreach 1 .. 3 };
    ok(defined eval { $client->$method(*TIED); 1 }, "$method() of what FILENO drops");
    untie *TIED;
}

done_testing();
