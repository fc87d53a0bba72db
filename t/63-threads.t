# ithreads: copies of objects are made, used and destroyed without harm to the originals.
use strict;
use warnings;
use Config;
use Test::More;
use lib 't/lib';

BEGIN {
    plan skip_all => 'perl without ithreads' unless $Config{useithreads};
    plan skip_all => 'no threads module' unless eval { require threads; threads->import; 1 };
}

use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my $echo = spawn_server();
my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or BAIL_OUT($@);
my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
$server->setcallback(data => sub { $_[0]->send('re ' . $_[0]->data) });
my $peer = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server))
    or BAIL_OUT(OldPeer->error);
run_until($server, sub { $server->clients });
my ($object) = $server->clients;

sub unharmed {
    my $name = shift;
    $client->send($name);
    is($client->receive, $name, "$name: the client is unharmed");
    $peer->send($name);
    is($peer->receive, "re $name", "$name: the server is unharmed");
    return;
}

is(threads->create(sub { 'done' })->join, 'done', 'a thread that does nothing');
unharmed('nothing');

is(threads->create(sub { return ref($client) . ' ' . ref($server) . ' ' . ref($object) })->join,
    'Net::EasyTCP Net::EasyTCP Net::EasyTCP', 'copies have their class');
unharmed('looking');

threads->create(sub { undef $client; undef $server; undef $object; 1 })->join;
unharmed('dropping copies');

threads->create(sub { $client->close; $object->close; 1 })->join;
unharmed('closing copies');

is(threads->create(sub { $client->send('from a thread') })->join, 1, 'send() from a thread');
is($client->receive, 'from a thread', 'and the answer in the main thread');

is(threads->create(sub { $client->send('both'); return $client->receive })->join, 'both',
    'send() and receive() in a thread');
unharmed('talking in a thread');

is(threads->create(sub { $object->send('to the peer') })->join, 1,
    'send() on a server\'s client from a thread');
is($peer->receive, 'to the peer', 'arrives');
unharmed('sending to the peer');

is(threads->create(sub {
    return join ' ', $client->mode, $client->remoteip, $client->remoteport, $object->mode;
})->join,
    "client 127.0.0.1 $echo->{port} client", 'facts in a thread');

# Several threads at once, each with a client of its own.
{
    my @threads = map {
        my $n = $_;
        threads->create(sub {
            my $own = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port})
                or return $@;
            my $right = 0;
            foreach my $i (1 .. 50) {
                $own->send("thread $n message $i");
                my $got = $own->receive;
                $right++ if defined $got && $got eq "thread $n message $i";
            }
            $own->close;
            return $right;
        });
    } 1 .. 4;
    is($_->join, 50, 'a thread with its own client') foreach @threads;
}

# A server made and run in a thread.
{
    my $thread = threads->create(sub {
        my $own_port = shift;
        my $own = Net::EasyTCP->new(mode => 'server', port => $own_port) or return $@;
        $own->setcallback(data => sub {
            my $data = $_[0]->data;
            $_[0]->send($data);
            $own->stop if $data eq 'end';
        });
        $own->start;
        return 'stopped';
    }, my $own_port = free_port());
    my $own;
    for (1 .. 3000) {
        $own = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $own_port) and last;
        select undef, undef, undef, 0.01;
    }
    ok($own, 'a server in a thread accepts') or diag $@;
    $own->send('end');
    is($own->receive, 'end', 'and answers');
    is($thread->join, 'stopped', 'and stops');
}

# Objects that end with a thread that still holds them.
threads->create(sub {
    my $own = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port});
    my ($own_server) = new_server();
    $own->{circle} = $own;
    1;
})->join;
unharmed('objects left in a thread');

# A new thread knows Storable's dialect already. To ask Storable before its own CLONE has run would write into
# buffers of the thread that makes it.
{
    my $frozen = 0;
    my $nfreeze = \&Storable::nfreeze;
    no warnings 'redefine';
    local *Storable::nfreeze = sub { $frozen++; return $nfreeze->(@_) };
    {
        no strict 'refs';
        @{"Inherits${_}::ISA"} = ('Net::EasyTCP') foreach 1 .. 10;
    }
    is(threads->create(sub { return $frozen })->join, 0, 'a thread does not ask Storable for its dialect');
}
unharmed('many subclasses');

# A thread that is made while no descriptor is free has copies whose methods fail.
SKIP: {
    skip 'no shell that limits descriptors', 1 if system q{sh -c 'ulimit -n 64' 2>/dev/null};
    my @failed = run_limited(<<'PERL');
my $server = Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1') or die $@;
my $port = $server->{_sock}->sockport;
my $pid = fork;
if (!$pid) { $server->start }
my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
my @files;
while (open my $file, '<', '/dev/null') { push @files, $file }
threads->create(sub {
    my %calls = (
        server => [
            qw(start do_one_loop clients),
            [ addclientip    => '127.0.0.1' ],
            [ deleteclientip => '127.0.0.1' ],
        ],
        client => [ [ send => 'x' ], [ receive => 1 ] ],
    );
    foreach my $name (sort keys %calls) {
        foreach my $call (@{ $calls{$name} }) {
            my ($method, @arguments) = ref $call ? @$call : $call;
            my $result = ($name eq 'server' ? $server : $client)->$method(@arguments);
            print "$name $method: ", defined $result ? $result : $@, "\n";
        }
    }
    print join(' ', map { defined $_ ? $_ : 'undef' }
        $server->running, $server->mode, $server->socket, $server->stop,
        $server->setcallback(data => sub { }),
        $client->socket, $client->pending, $client->remoteip, $client->close), "\n";
})->join;
print "joined\n";
kill 'KILL', $pid;
PERL
    my $why = 'This thread has no copy of the server: Too many open files';
    is_deeply(\@failed, [
        'client send: Error sending data: Socket handle not supplied',
        'client receive: Timed out waiting to receive data',
        (map { "server $_: $why" } qw(start do_one_loop clients addclientip deleteclientip)),
        'undef server undef 1 1 undef 0 undef 1', 'joined',
    ], 'methods of copies that lack a descriptor fail') or diag join "\n", @failed;
}
unharmed('no descriptors');

sub run_limited {
    my $script = "use threads; use Net::EasyTCP; \$SIG{ALRM} = 'DEFAULT'; alarm 100;\n$_[0]";
    my @command = ($^X, (map { "-I$_" } @INC), '-e', $script);
    my $pid = open my $out, '-|';
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec 'sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh', @command or die "exec: $!";
    }
    chomp(my @lines = <$out>);
    close $out;
    push @lines, "status $?" if $?;
    return @lines;
}

$client->close;
$echo->kill('TERM');
# A client with callbacks belongs to the thread that made it.
{
    my $got  = '';
    my $echo = spawn_server();
    my $async = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}, async => 1)
        or die $@;
    $async->setcallback(data => sub { $got = $_[0]->data });
    $async->send('before');
    $async->process(10) until $got;
    is(threads->create(sub { return defined $async->send('x') ? 'sent' : $@ })->join,
        'Error sending data: Socket handle not supplied', 'a copy of a client with callbacks is closed');
    is(threads->create(sub { return defined $async->process ? 'done' : $@ })->join,
        'The loop of this client is gone', 'and has no loop');
    $got = '';
    $async->send('after');
    $async->process(10) until $got;
    is($got, 'after', 'the client itself goes on');
}

{
    my ($server) = new_server(donotencrypt => 1, donotcompress => 1);
    pipe(my $r, my $w) or die "pipe: $!";
    my @seen;
    $server->watch($r, sub { sysread $r, my $byte, 1; push @seen, $byte });
    syswrite $w, 'x';
    is(threads->create(sub {
        $server->process(0.01) for 1 .. 3;
        return scalar @seen;
    })->join, 0, 'the copy of a server watches nothing');
    $server->process(5) until @seen;
    is("@seen", 'x', 'the server goes on watching');
}

done_testing();
