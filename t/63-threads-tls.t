# ithreads and TLS: a copy of a connection cannot be used, whatever is tried with it, and the thread that made
# the connection goes on as if there were none. Two that go on would seal different messages with the same key
# and nonce; here somebody in between counts every record.
use strict;
use warnings;
use Config;
use Test::More;
use lib 't/lib';

BEGIN {
    plan skip_all => 'perl without ithreads' unless $Config{useithreads};
    plan skip_all => 'no threads module' unless eval { require threads; threads->import; 1 };
}

use Between;
use EasyTCPTest;
use Net::EasyTCP;
use POSIX ();

plan skip_all => "TLS cannot be had: $@" if !tls_usable();

my @TLS  = (requireencryption => 'TLS');
my $LOST = 'A TLS connection cannot be used in another thread';

# Hands on everything and reports each record that one end has sealed.
sub recorder {
    my ($port, $whose) = @_;
    return between($port, sub {
        my ($who, $number, $unit, $me) = @_;
        $me->report(unpack 'H*', $unit) if $who eq $whose && $number && $unit =~ /\A\x17/;
        return $unit;
    });
}

# ---- who speaks TLS ----------------------------------------------------------------------------------

my $echo = spawn_server(@TLS);
{
    my $plain = spawn_server();
    is(client_to($plain->{port})->encryption, 'Crypt::Rijndael',
        'where threads is loaded, TLS is not spoken unasked');
    $plain->kill;
    ok(!client_to($echo->{port}), 'so a server that wants nothing else refuses');
    is(client_to($echo->{port}, @TLS)->encryption, 'TLS', 'it is spoken where it is required');
}

# ---- a client's copies -------------------------------------------------------------------------------

# All that a program can try with a copy. Returns the answers.
sub try_all {
    my $object = shift;
    my @said;
    my @tries = ([ send => 'x' ], [ send => { x => 1 } ], [ send => 'y' x 300_000 ], [ receive => 0.01 ],
        [ receive => -1 ]);
    foreach my $try (@tries) {
        my ($method, $argument) = @$try;
        push @said, defined $object->$method($argument) ? 'done' : $@;
    }
    push @said, map { defined $_ ? $_ : 'undef' } $object->encryption, $object->socket, $object->pending;
    $object->close;
    return @said;
}

my @REFUSED = (
    ("Error sending data: $LOST") x 3, ("Failed to read from socket: $LOST") x 2, 'TLS', 'undef', 0,
);

{
    my $recorder = recorder($echo->{port}, 'client');
    my $client = client_to($recorder->{port}, @TLS) or BAIL_OUT($@);
    $client->send('first');
    is($client->receive(60), 'first', 'a connection');
    is_deeply([ threads->create({ context => 'list' }, sub { try_all($client) })->join ], \@REFUSED,
        'a copy of it cannot be used');
    $client->send('second');
    is($client->receive(60), 'second', 'the thread that made it goes on');

    # Many threads while it is in use, and copies of copies.
    my @threads = map {
        threads->create({ context => 'list' }, sub {
            my @inner = threads->create({ context => 'list' }, sub { try_all($client) })->join;
            return ("@inner" eq "@REFUSED", "@{[ try_all($client) ]}" eq "@REFUSED");
        });
    } 1 .. 5;
    my $right = 0;
    foreach my $n (1 .. 50) {
        $client->send($n);
        my $got = $client->receive(60);
        $right++ if defined $got && $got eq $n;
    }
    is($right, 50, 'while others try, every message comes back');
    is(scalar(grep {$_} map { $_->join } @threads), 10, 'copies, and copies of copies, fail');

    # A thread that forks, and a process that has threads.
    my $status = threads->create(sub {
        my $pid = fork;
        return "fork: $!" if !defined $pid;
        POSIX::_exit(defined $client->send('from a fork') ? 1 : 7) if !$pid;
        waitpid $pid, 0;
        return $? >> 8;
    })->join;
    is($status, 7, 'nor can a process that a thread forks use it');
    threads->create(sub { undef $client; 1 })->join;
    $client->send('last');
    is($client->receive(60), 'last', 'the connection is whole');
    $client->close;

    # Finished, HI, 53 messages, close_notify: nobody has sealed anything else.
    my %seen;
    my @records = $recorder->poll_all;
    while (@records < 56) {
        my $record = $recorder->line;
        last if !defined $record;
        push @records, $record;
    }
    push @records, $recorder->poll_all;
    is(scalar @records, 2 + 53 + 1, 'as many records as one end has sealed');
    is(scalar(grep { $seen{$_}++ } @records), 0, 'none twice');
    $recorder->kill;
}

# ---- a server's clients ------------------------------------------------------------------------------

{
    my ($server, $port) = new_server(@TLS);
    my @copies;
    $server->setcallback(data => sub {
        my $object = shift;
        my $text = $object->data;
        push @copies, [ threads->create({ context => 'list' }, sub { try_all($object) })->join ];
        $object->send("re $text");
    });
    my $peer = spawn(sub {
        my $me = shift;
        my $client = client_to($port, @TLS) or die $@;
        foreach my $n (1 .. 3) {
            $client->send($n);
            my $got = $client->receive(60);
            $me->report(defined $got ? $got : "lost: $@");
        }
        $client->close;
    });
    my @got;
    run_until($server, sub { push @got, grep {defined} $peer->poll; @got >= 3 || $peer->{gone} });
    is_deeply(\@got, [ 're 1', 're 2', 're 3' ], 'a server whose callbacks make threads');
    is_deeply(\@copies, [ (\@REFUSED) x 3 ], 'whose copies of the client fail');

    # A copy of the server itself has the same key, and serves.
    my $key = $server->fingerprint;
    my $thread = threads->create(sub {
        my $served = 0;
        $server->setcallback(data => sub { $served++; $_[0]->send('thread ' . $_[0]->data) });
        $server->do_one_loop while !$served || $server->clients;
        return $server->fingerprint;
    });
    my $client = client_to($port, @TLS, tlsfingerprint => $key);
    ok($client, 'a copy of a server accepts') or diag $@;
    $client->send('hello');
    is($client->receive(60), 'thread hello', 'and answers');
    $client->close;
    is($thread->join, $key, 'with the key of the original');
}

# ---- threads with their own --------------------------------------------------------------------------

{
    my $context = client_to($echo->{port}, @TLS);    # its context is copied into every thread
    my @threads = map {
        my $n = $_;
        threads->create(sub {
            my $own = client_to($echo->{port}, @TLS) or return $@;
            my $right = 0;
            foreach my $i (1 .. 50) {
                $own->send("thread $n message $i");
                my $got = $own->receive(60);
                $right++ if defined $got && $got eq "thread $n message $i";
            }
            $own->close;
            return $right;
        });
    } 1 .. 4;
    is($_->join, 50, 'a thread with a TLS connection of its own') foreach @threads;
    $context->send('still');
    is($context->receive(60), 'still', 'and one of the main thread beside them');
}
{
    my $thread = threads->create(sub {
        my ($own, $port) = new_server(@TLS, password => 'sesame');
        my $done = 0;
        $own->setcallback(data => sub { $done++; $_[0]->send(scalar $_[0]->data) });
        my $peer = spawn(sub {
            my $me = shift;
            my $client = client_to($port, @TLS, password => 'sesame') or die $@;
            $client->send('hello');
            $me->report($client->receive(60));
        });
        my $got;
        run_until($own, sub { $got = $peer->poll; defined $got || $peer->{gone} });
        return $got;
    });
    is($thread->join, 'hello', 'a server made and run in a thread');
}

$echo->kill;
done_testing();
