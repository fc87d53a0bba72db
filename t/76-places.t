# Where a server listens, if not at a port of its own: handle, inherit, path, and listen => 0 with adopt.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Net::EasyTCP;

my $dir  = File::Temp::tempdir(CLEANUP => 1);
my %bare = (donotencrypt => 1, donotcompress => 1);

sub server { return Net::EasyTCP->new(mode => 'server', %bare, @_) }

sub is_undef {
    my ($text, $name, %o) = @_;
    $@ = '';
    ok(!defined server(%o), "$name: none");
    like($@, $text, "$name: why");
    return;
}

# A client of the server, in a process of its own, says something and reports the answer.
sub answers {
    my ($server, %to) = @_;
    my $seen = 0;
    $server->setcallback(data => sub {
        $seen++;
        $_[0]->send([ scalar $_[0]->data, $_[0]->remoteip, $_[0]->remoteport ]);
    });
    my $child = spawn(sub {
        my $me     = shift;
        my $client = Net::EasyTCP->new(mode => 'client', %bare, %to);
        return $me->report("none: $@") if !$client;
        $client->send('question');
        my $answer = $client->receive(60) || ["no answer: $@"];
        $me->report(join ' ', @$answer, $client->remoteip);
    });
    my $line;
    run_until($server, sub { defined($line = $child->poll) || $child->{gone} });
    $child->wait;
    return $line;
}

sub listener { return IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') || die "listen: $!" }

# ---- handle --------------------------------------------------------------------------------------

foreach my $case ([ 'a handle' => sub { $_[0] } ], [ 'a number' => sub { fileno $_[0] } ],
    [ 'a glob' => sub { *{ $_[0] } } ])
{
    my ($name, $how) = @$case;
    my $listener = listener();
    my $server   = server(handle => $how->($listener), port => 1, localaddr => '192.0.2.1');
    ok($server, "handle: $name") or diag $@;
    is($server->port, $listener->sockport, 'its port');
    my $port = $listener->sockport;
    close $listener;
    like(answers($server, host => '127.0.0.1', port => $port), qr/^question 127\.0\.0\.1 \d+ 127\.0\.0\.1\z/,
        'serves clients, whatever becomes of the handle');
}
{
    my $connected = raw_connect((my $open = listener())->sockport);
    open my $file, '<', $0 or die $!;
    foreach my $wrong ($connected, $file, '999999', 'STDERR?', \*NOWHERE, -1) {
        is_undef(qr/^handle is not a listening socket\z/, "handle => $wrong", handle => $wrong);
    }
    ok(fileno $connected, 'what was refused stays open');
}
is_undef(qr/^\Q$_->[0]\E contradict each other\z/, $_->[0], @{ $_->[1] }) foreach
    [ 'handle and path',    [ handle  => 3, path    => '/x' ] ],
    [ 'handle and inherit', [ handle  => 3, inherit => 1 ] ],
    [ 'handle and listen',  [ handle  => 3, listen  => 0 ] ],
    [ 'inherit and listen', [ inherit => 1, listen  => 0 ] ],
    [ 'listen and path',    [ listen  => 0, path    => '/x' ] ];

# ---- inherit -------------------------------------------------------------------------------------

sub inheriting {
    my ($environment, @wanted) = @_;
    local %ENV = (%ENV, %$environment);
    return map { my $s = server(inherit => $_); $s ? $s->port : $@ } @wanted;
}
{
    delete @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES SERVER_STARTER_PORT)};
    is_undef(qr/^No socket was inherited\z/, 'nothing inherited', inherit => 1);
    ok(my $own = server(inherit => 1, port => '00'), 'then a port is used');
    ok($own = server(inherit => 1, path => "$dir/own"), 'or a path');
    is($own->localip, 'unix', 'which is one');

    my @listeners = map { listener() } 1 .. 3;
    my @fds       = map { fileno $_ } @listeners;
    my @ports     = map { $_->sockport } @listeners;
    my $none      = 'No socket was inherited';
    my $starter   = "127.0.0.1:1=$fds[0];/path/x.sock=$fds[1];0=$fds[2];broken;7=";
    is_deeply([ inheriting({ SERVER_STARTER_PORT => $starter }, '/path/x.sock', 1, 1, 1) ],
        [ @ports[ 1, 0, 2 ], $none ], 'Server::Starter: by name, and one after the other');
    is_deeply([ inheriting({ SERVER_STARTER_PORT => $starter }, 'nowhere') ], [$none],
        'a name that is not there');
}

# systemd's begin with descriptor 3, which may be anything here: a program of its own gets them.
{
    my @listeners = map { listener() } 1 .. 2;
    my $child = spawn(sub {
        my $me = shift;
        my $out = POSIX::dup(fileno $me->{out});
        POSIX::dup2(fileno $listeners[$_], 20 + $_) foreach 0, 1;
        POSIX::dup2($out, 22);
        POSIX::dup2(20, 3);
        POSIX::dup2(21, 4);
        POSIX::dup2(22, 1);
        @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} = ($$, 2, 'chat:admin');
        exec $^X, '-Mblib', '-MNet::EasyTCP', '-e', <<'PROGRAM' or die "exec: $!";
            sub port {
                my $s = Net::EasyTCP->new(mode => 'server', inherit => shift);
                push our(@keep), $s;
                return $s ? $s->port : $@;
            }
            print join(' ', map { port($_) } 'admin', 'nobody', 1, 1), "\n";
            $ENV{LISTEN_PID}++;
            print port('chat'), "\n";
PROGRAM
    });
    close $child->{out};
    my @ports = map { $_->sockport } @listeners;
    is($child->line, "$ports[1] No socket was inherited $ports[0] No socket was inherited",
        "systemd's, by name");
    is($child->line, 'No socket was inherited', 'what is meant for another process is left alone');
    $child->wait;
}

# ---- path ----------------------------------------------------------------------------------------

{
    my $path   = "$dir/chat.sock";
    my $server = server(path => $path, pathmode => '0600') or diag $@;
    is(sprintf('%o', (stat $path)[2] & 0777), '600', 'pathmode');
    is(answers($server, path => $path), 'question unix 0 unix', 'a client by path');
    my %over = (donotencrypt => 0, donotcompress => 0, path => "$dir/tls.sock");
    is(answers(server(%over), %over), 'question unix 0 unix', 'and with everything that can be negotiated');
    isa_ok($server->{_sock}, 'IO::Socket::UNIX', "the server's handle");
    is_undef(qr/^Could not create listening socket on \Q$path\E: \S/, 'while it is in use', path => $path);
    my $child = spawn(sub { undef $server });
    $child->wait;
    ok(-S $path, 'a forked child that drops the server leaves the file');
    undef $server;
    ok(!-e $path, 'the server takes its file with it');

    IO::Socket::UNIX->new(Local => $path, Listen => 1) or die $!;
    ok(-S $path, 'a socket that nobody listens at');
    ok($server = server(path => $path), 'is replaced') or diag $@;
    rename $path, "$path.old";
    ok(my $second = server(path => $path), 'another server at the same place');
    undef $server;
    ok(-S $path, 'keeps its file when the first one goes');
    undef $second;
    unlink "$path.old";

    open my $file, '>', $path or die $!;
    close $file;
    is_undef(qr/^Could not create listening socket on \Q$path\E: \S/, 'a file', path => $path);
    ok(-f $path, 'which stays');
    unlink $path;
    is_undef(qr/^Could not create listening socket on \S+: \S/, 'a path that is too long', path => "$dir/"
        . 'x' x 200);
    is_undef(qr{^Invalid path\z}, 'two paths in one', path => "$dir/a\0b");
    ok(!-e "$dir/a", 'none of them is made');
    is_undef(qr/^Invalid pathmode '$_': must be permissions like 0600\z/, "pathmode $_", path => $path,
        pathmode => $_)
        foreach '0999', 'rw', '', '017777';
    ok(!Net::EasyTCP->new(mode => 'client', path => $path), 'a client where nobody listens');
    like($@, qr/^Could not connect to \Q$path\E: \S/, 'is told where');
    my ($port_server, $port) = new_server(%bare, path => $path);
    ok(!-e $path, 'a path beside a port means nothing');
    like(answers($port_server, host => '127.0.0.1', port => $port, path => $path), qr/^question 127/,
        'to a client neither');
}

# ---- listen => 0, adopt --------------------------------------------------------------------------

{
    my $server = server(listen => 0);
    ok($server, 'a server that listens nowhere') or diag $@;
    is($server->port, 0, 'it has no port');
    my ($connected, @said) = (0);
    $server->setcallback(connect => sub { $connected++ }, data => sub {
        push @said, scalar $_[0]->data;
        $_[0]->send('yes');
    });
    my $listener = listener();
    my $sock     = raw_connect($listener->sockport);
    my $accepted = $listener->accept;
    ok($server->adopt($accepted), 'a connection from elsewhere') or diag $@;
    close $accepted;
    raw_negotiate($sock, loop_of($server));
    run_until($server, sub { $connected });
    write_to($sock, packet(5, 'adopted'));
    is((read_packet($sock, loop_of($server)))[1], 'yes', 'is served like any other');
    is("@said", 'adopted', 'its message');
    is(($server->clients)[0]->remoteip, '127.0.0.1', 'its address');
    my $serial = ($server->clients)[0]->serial;
    is($server->client($serial), ($server->clients)[0], 'its number');

    foreach my $wrong ($listener, undef, 'x', \*NOWHERE, 999999) {
        $@ = '';
        ok(!defined $server->adopt($wrong), 'what is no connection');
        like($@, qr/^Cannot adopt the connection: handle is not a connected socket\z/, 'is refused');
    }
    socketpair my $one, my $two, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
    $server->addclientip('127.0.0.1');
    ok(!defined $server->adopt($one), 'who is not on the list');
    is($@, 'Cannot adopt the connection: its address may not connect', 'is refused');
    $server->addclientip('unix');
    ok($server->adopt($one), 'a Unix-domain socket that is');
    raw_negotiate($two, loop_of($server));
    run_until($server, sub { $connected == 2 });
    is((sort map { $_->remoteip } $server->clients)[1], 'unix', 'has this address');
    my $client = Net::EasyTCP->new(mode => 'client', _sock => raw_connect($listener->sockport));
    ok(!defined $client->adopt(1), 'clients adopt nothing');
    is($@, 'serverclient cannot use method adopt()', 'as they are told');
}

# ---- reuseport, masks, maxclientsperip -----------------------------------------------------------

SKIP: {
    my $first = server(port => '00', localaddr => '127.0.0.1', reuseport => 1)
        or skip "no SO_REUSEPORT here: $@", 2;
    ok(server(port => $first->port, localaddr => '127.0.0.1', reuseport => 1),
        'reuseport: two servers at one port');
    ok(!server(port => $first->port, localaddr => '127.0.0.1'), 'if both say so');
}
{
    my ($server, $port) = new_server(%bare, maxclientsperip => 1);
    my $loop = loop_of($server);
    $server->addclientip('10.0.0.0/8', '127.1.0.0/16', '::1/128');
    ok(has_closed(raw_connect($port), $loop), 'an address in none of the networks');
    is($server->addclientip('127.0.0.0/30'), 1, 'another network');
    my $one = raw_negotiate(raw_connect($port), $loop);
    ok($one, 'lets it in');
    ok(has_closed(raw_connect($port), $loop), 'maxclientsperip: once');
    close $one;
    run_until($server, sub { !$server->clients });
    ok(my $two = raw_negotiate(raw_connect($port), $loop), 'and again when the first has gone');
    $@ = '';
    ok(!defined $server->addclientip('10.0.0.0/33'), 'what has a slash and is no network');
    is($@, "'10.0.0.0/33' is not an address", 'is told');
    ok(!defined $server->deleteclientip('x/y'), 'not to be taken off either');
    is($@, "'x/y' is not an address", 'which is told');
    is($server->deleteclientip('127.0.0.3/30'), 1, 'a network written in another way');
    ok(has_closed(raw_connect($port), $loop), 'is taken off');
}

# ---- a listener that four processes accept from --------------------------------------------------

{
    my $listener = listener();
    my @workers  = map {
        spawn(sub {
            my $me     = shift;
            my $server = server(handle => $listener);
            $server->setcallback(data => sub { $_[0]->send($$) });
            $server->start;
        });
    } 1 .. 4;
    my %count;
    my @socks = map { raw_negotiate(raw_connect($listener->sockport)) } 1 .. 40;
    write_to($_, packet(5, 'who?')) foreach @socks;
    $count{ (read_packet($_))[1] }++ foreach @socks;
    is(eval { my $sum = 0; $sum += $_ foreach values %count; $sum }, 40, 'a shared listener: all are served');
    cmp_ok(scalar keys %count, '>', 1, 'by several processes');
    $_->kill('TERM') foreach @workers;
}

done_testing();
