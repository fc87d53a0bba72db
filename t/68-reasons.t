# What a server can know: where it listens, who is there, and why a client left or never came; and
# raiseerror, which makes methods die where they would fail.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

# ---- where, and who ------------------------------------------------------------------------------

{
    my $server = Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1',
        donotencrypt => 1, donotcompress => 1) or die $@;
    is($server->port, $server->{_sock}->sockport, 'port() is what the system chose');
    is($server->localip, '127.0.0.1', 'localip()');
    is((new_server())[0]->localip, '0.0.0.0', 'or any address');
    is_deeply([ $server->clients ], [undef], 'clients() without clients is a list of undef, as ever');
    is_deeply([ $server->clientlist ], [], 'clientlist() is an empty list');
    is(scalar $server->clientlist, 0, 'and 0');
    is($server->client(1), undef, 'client() without clients');
    my @objects;
    $server->setcallback(connect => sub { push @objects, shift });
    my $port = $server->port;
    my @socks = map { raw_negotiate(raw_connect($port), loop_of($server)) } 1 .. 3;
    run_until($server, sub { @objects == 3 });
    is_deeply([ sort map { $_->serial } $server->clientlist ], [ sort map { $_->serial } @objects ],
        'clientlist() has them all');
    is(scalar $server->clientlist, 3, 'and their number');
    is($server->client($_->serial), $_, 'client() finds each') foreach @objects;
    is($server->client($_), undef, 'client() finds nobody else') foreach 0, -1, undef,
        $objects[0]->serial + 1000;
    my $serial = $objects[1]->serial;
    $objects[1]->close;
    is($server->client($serial), undef, 'nor who was closed');
    is(scalar $server->clientlist, 2, 'who is not listed either');
    my $client = $objects[0];
    foreach my $method (qw(port localip clientlist client)) {
        is($client->$method, undef, "$method() of a client");
        is($@, "serverclient cannot use method $method()", 'says so');
    }
}

# ---- why -----------------------------------------------------------------------------------------

sub server_of {
    my @options = @_;
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1, @options);
    my (@left, @errors);
    $server->setcallback(
        disconnect => sub { my ($client, @why) = @_; push @left, [ $client->serial, @why ] },
        error => sub { push @errors, [@_] },
    ) or die $@;
    return ($server, $port, \@left, \@errors);
}

{
    my ($server, $port, $left, $errors) = server_of();
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    close $sock;
    run_until($server, sub { @$left });
    is($left->[0][1], '', 'a peer that closes: no reason');
    is_deeply($errors, [], 'and no error');
    is(scalar @{ $left->[0] }, 2, 'disconnect has two arguments');
}
foreach my $case (
    [ 'too large' => packet(5, 'x' x 2000), 'toobig', maxmessage => 1000 ],
    [ 'a damaged structure' => packet(7, 'no image'), 'decode' ],
    [ 'garbage' => "\0\0\0\0", 'decode' ],
    [ 'silence' => '', 'timeout', idletimeout => 0.05 ],
) {
    my ($name, $bytes, $kind, @options) = @$case;
    my ($server, $port, $left, $errors) = server_of(@options);
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    write_to($sock, $bytes);
    run_until($server, sub { @$left && @$errors });
    like($left->[0][1], qr/\w/, "$name: disconnect is told a reason");
    my ($object, $text, $got, $ip, $client) = @{ $errors->[0] };
    is($object, $server, "$name: error is called with the server");
    is($text, $left->[0][1], 'with the same reason');
    is($got, $kind, "as $kind");
    is($ip, '127.0.0.1', 'with the address');
    is(ref $client && $client->serial, $left->[0][0], 'and with the client');
    $server->do_one_loop for 1 .. 3;
    is(scalar @$errors, 1, 'once');
}
{
    my ($server, $port, $left, $errors) = server_of(password => 'sesame');
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port,
            password => 'wrong');
        POSIX::_exit($client ? 1 : 0);
    }
    run_until($server, sub { @$errors });
    waitpid $pid, 0;
    is($?, 0, 'a wrong password is refused');
    is_deeply([ @{ $errors->[0] }[ 1 .. $#{ $errors->[0] } ] ],
        [ 'The client gave a wrong password', 'password', '127.0.0.1' ],
        'and the server learns of it');
    is_deeply($left, [], 'nobody has left');
}
# Over TLS a client sees first that its password is wrong, and leaves.
SKIP: {
    my ($server, $port, $left, $errors) = server_of(password => 'sesame', donotencrypt => 0);
    skip 'no TLS here', 3 if !defined $server->fingerprint;
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        client_to($port, password => $_) && POSIX::_exit(1) foreach 'wrong', '';
        POSIX::_exit(0);
    }
    run_until($server, sub { @$errors > 1 });
    waitpid $pid, 0;
    is($?, 0, 'over TLS, a wrong password and none are refused');
    is_deeply([ map { [ @$_[ 1 .. $#$_ ] ] } @$errors ],
        [ ([ 'The client left without proving the password', 'password', '127.0.0.1' ]) x 2 ],
        'and the server learns of it');
    is($server->stats->{failed_password}, 2, 'and counts it');
}
{
    my ($server, $port, $left, $errors) = server_of();
    my $sock = raw_connect($port);
    write_to($sock, "GET / HTTP/1.0\r\n\r\n");
    run_until($server, sub { @$errors });
    is($errors->[0][2], 'negotiation', 'somebody who speaks another protocol');
    is(scalar @{ $errors->[0] }, 4, 'who has no object');
    read_packet($sock = raw_connect($port), loop_of($server));
    close $sock;
    $sock = raw_connect($port);
    my $half = raw_connect($port);
    read_packet($half, loop_of($server));
    write_to($half, "\x01");
    close $half;
    run_until($server, sub { @$errors > 1 });
    is($errors->[1][2], 'negotiation', 'somebody who leaves in the middle');
    like($errors->[1][1], qr/closed the connection during the negotiation/, 'with a text');
    $server->do_one_loop for 1 .. 5;
    is(scalar @$errors, 2, 'who only connects is not told of');
    $server->setcallback(error => sub { die "in error\n" });
    write_to(raw_connect($port), "another\r\n");
    my $died;
    until ($died) { eval { $server->do_one_loop; 1 } or $died = $@ }
    is($died, "in error\n", 'the callback may die');
    is($server->do_one_loop, 1, 'and the server goes on');
    $server->setcallback(error => sub { undef $server });
    write_to(raw_connect($port), "another\r\n");
    $server->do_one_loop while $server;
    pass('it may drop the server');
}

# ---- raiseerror ----------------------------------------------------------------------------------

sub dies {
    my ($name, $code, $text) = @_;
    ok(!eval { $code->(); 1 }, "$name dies");
    like($@, qr/^$text at \Q$0\E line \d+\.$/, 'with its text and the line');
    return;
}
{
    my ($server) = new_server(raiseerror => 1, donotencrypt => 1, donotcompress => 1);
    my $port = $server->port;
    dies('new()', sub { Net::EasyTCP->new(mode => 'client', raiseerror => 1) }, 'Invalid host');
    dies('new() of a server', sub {
        Net::EasyTCP->new(mode => 'server', port => $port, raiseerror => 1, maxdepth => 0);
    }, "Invalid maxdepth '0': must be .*");
    ok(eval { Net::EasyTCP->new(mode => 'client'); 1 }, 'not without the option');
    dies('a method of clients', sub { $server->send('x') }, 'server cannot use method send\(\)');
    dies('joinroom()', sub { $server->joinroom('x') }, 'server cannot use method joinroom\(\)');
    dies('detach()', sub { $server->detach }, 'Not attached');
    dies('attach()', sub { $server->attach('A loop') }, 'Unknown event loop A loop');
    dies('setcallback()', sub { $server->setcallback(data => 5) }, 'Callback data 5 does not exist');
    dies('broadcast()', sub { $server->broadcast(undef) }, 'Error sending data: Data not supplied');
    dies('broadcast() to nobody it knows', sub { $server->broadcast('x', to => 5) }, 'Invalid to: must be .*');
    is($server->broadcast('x'), '0E0', 'broadcast() where nobody is does not');
    is_deeply([ $server->clients ], [undef], 'clients() does not');
    is($server->do_one_loop, 1, 'success stays success');
    my $object;
    $server->setcallback(connect => sub { $object = shift });
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    run_until($server, sub { $object });
    dies('send() of a hybrid', sub { $object->send(undef) }, 'Error sending data: Data not supplied');
    dies('receive()', sub { $object->receive(-1) }, 'Timed out waiting to receive data');
    is($object->data, undef, 'data() does not');
    is($object->pending, 0, 'nor does pending()');
    $object->close;
    dies('joinroom() after close()', sub { $object->joinroom('x') }, 'Client not connected');
    dies('attach() of a hybrid', sub { $object->attach }, 'serverclient cannot use method attach\(\)');
    dies('send() after close()', sub { $object->send('x') },
        'Error sending data: Socket handle not supplied');
}

done_testing();
