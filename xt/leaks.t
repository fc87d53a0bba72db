# No method leaves anything behind, whether it succeeds or fails, and memory is flat over thousands of
# connections: LEAKS_CONNECTIONS (2000; 100000 takes some minutes).
use strict;
use warnings;
use lib 't/lib';
use Test::More;

BEGIN {
    plan skip_all => 'Test::LeakTrace is not here' unless eval { require Test::LeakTrace; 1 };
    Test::LeakTrace->import(qw(no_leaks_ok));
    $ENV{EASYTCP_TEST_DEADLINE} ||= 1200;
}

use EasyTCPTest;
use Net::EasyTCP;

my $structure = { list => [ 1 .. 10 ], object => bless({ a => 1 }, 'Some::Class'), text => 'x' x 1000 };
my %plain = (donotencrypt => 1, donotcompress => 1);

# ---- clients ------------------------------------------------------------------------------------

my $echo = spawn_server(password => 'sesame');
my %to = (mode => 'client', host => '127.0.0.1', port => $echo->{port}, password => 'sesame');

sub client { return Net::EasyTCP->new(%to, @_) || die $@ }

no_leaks_ok { client() } 'new, a client';
no_leaks_ok { client(%plain) } 'new, plain';
no_leaks_ok {
    client(allowclasses => ['A'], maxdepth => 9, donotencryptwith => ['Crypt::DES'], timeout => 5);
} 'new with options';
no_leaks_ok { Net::EasyTCP->new(%to, password => 'wrong') } 'new, password refused';
no_leaks_ok { Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => 1) } 'new, connection refused';
no_leaks_ok { Net::EasyTCP->new(mode => 'client', host => 'name.invalid', port => 1) } 'new, no such host';
no_leaks_ok { Net::EasyTCP->new(%to, maxmessage => 'x') } 'new, an invalid limit';
no_leaks_ok { Net::EasyTCP->new(%to, password => "\x{263a}") } 'new, an invalid password';
no_leaks_ok { Net::EasyTCP->new(mode => 'client') } 'new, no host';
no_leaks_ok { Net::EasyTCP->new(mode => 'neither') } 'new, no mode';
no_leaks_ok { Net::EasyTCP->new(%to, requireencryption => 1, donotencrypt => 1) } 'new, demands not met';

foreach my $case ([ 'sealed' ], [ 'plain', %plain ]) {
    my ($name, @options) = @$case;
    my $client = client(@options);
    my %call = (
        'send and receive'    => sub { $client->send('text'); $client->receive },
        'a large message'     => sub { $client->send('x' x 200_000); $client->receive },
        'a structure'         => sub { $client->send($structure); $client->receive },
        'an empty message'    => sub { $client->send(''); $client->receive },
        'receive in list context' => sub { $client->send('x'); my @got = $client->receive(5) },
        'data'                => sub { my $data = $client->data; my @data = $client->data },
        'receive that times out' => sub { $client->receive(0.01) },
        'a message too wide'  => sub { $client->send("\x{263a}") },
        'nothing to send'     => sub { $client->send(undef); $client->send },
        'code to send'        => sub { eval { $client->send([ sub { } ]) } },
        'pending'             => sub { $client->pending },
        'facts'               => sub {
            $client->$_ for qw(mode serial compression encryption remoteip remoteport);
        },
        'socket'              => sub { $client->socket },
        'what servers do'     => sub {
            $client->$_ for qw(start stop do_one_loop running clients setcallback callback addclientip
                deleteclientip);
        },
        'several at once'     => sub { $client->send("n$_") for 1 .. 5; $client->receive for 1 .. 5 },
    );
    no_leaks_ok { $call{$_}->() } "$name: $_" foreach sort keys %call;
    no_leaks_ok {
        my $c = client(@options);
        $c->socket;
        $c->close;
        $c->close;
        $c->send('x');
        $c->receive;
    } "$name: close";
    no_leaks_ok {
        my $c = client(@options);
        $c->send('QUIT');
        $c->receive;
        $c->receive;
    } "$name: closed by the server";
    no_leaks_ok { client(@options)->disconnect } "$name: disconnect";
    $client->close;
}
no_leaks_ok {
    my $c = client(%plain, allowclasses => 'none');
    $c->send($structure);
    $c->receive;
} 'a class refused';
no_leaks_ok {
    my $c = client(%plain, maxmessage => 1000);
    $c->send('x' x 1000);
    $c->receive;
    $c->send('x' x 1001);
} 'maxmessage';
$echo->kill('TERM');

# ---- servers and hybrids ------------------------------------------------------------------------

no_leaks_ok { Net::EasyTCP->new(mode => 'server', port => '00') } 'new, a server';
no_leaks_ok {
    Net::EasyTCP->new(mode => 'server', port => '00', welcome => 'hello', password => 'x',
        allowclasses => 'none');
} 'with options';
no_leaks_ok { Net::EasyTCP->new(mode => 'server') } 'new, no port';
no_leaks_ok {
    Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '192.0.2.1');
} 'new, no such address';

my ($server, $port) = new_server(%plain);
my $idle = loop_of($server);
my $each = sub { };
my %events;
$server->setcallback(
    connect    => sub { $events{connect}++ },
    data       => sub { $events{data}++; $each->($_[0]) },
    disconnect => sub { $events{disconnect}++ },
);

# One connection from its beginning to its end, in which the client says these bytes.
sub visit {
    my $bytes = shift;
    my $sock = raw_negotiate(raw_connect($port), $idle);
    %events = ();
    syswrite $sock, $bytes;
    shutdown $sock, 1;
    1 until has_closed($sock, $idle);
    return;
}

no_leaks_ok { $server->do_one_loop } 'do_one_loop';
no_leaks_ok { $server->start(sub { $server->stop }) } 'start, stop';
no_leaks_ok {
    $server->running;
    $server->mode;
    $server->serial;
    my @c = $server->clients;
    my $n = $server->clients;
} 'facts of a server';
no_leaks_ok {
    $server->$_ for qw(send receive data close socket remoteip remoteport compression encryption disconnect
        pending);
} 'what clients do';
no_leaks_ok {
    $server->addclientip('10.0.0.1', '10.0.0.2');
    $server->deleteclientip('10.0.0.1', '10.0.0.2');
} 'addclientip, deleteclientip';
no_leaks_ok { $server->setcallback(other => sub { }); $server->callback(other => sub { }) } 'setcallback';
no_leaks_ok { $server->setcallback(data => 'no code') } 'setcallback refused';

# ---- watches and clusters ----------------------------------------------------------------------------

pipe(my $pipe, my $into) or die "pipe: $!";
no_leaks_ok { $server->watch($pipe, sub { my @got = @_ }); $server->unwatch($pipe) } 'watch, unwatch';
no_leaks_ok { $server->watch($pipe, sub { }) for 1, 2; $server->unwatch(fileno $pipe) } 'watched again';
no_leaks_ok {
    $server->watch(undef, sub { });
    $server->watch($pipe, 'no code');
    $server->unwatch(undef);
} 'watch refused';
no_leaks_ok {
    $server->watch($pipe, sub { sysread $_[1], my $byte, 1; $_[0]->unwatch($_[1]) });
    syswrite $into, 'x';
    $server->process(1);
} 'a watch that is called';
no_leaks_ok { Net::EasyTCP::_wake($server, 0, sub { }); $server->process(1) } 'a moment';
no_leaks_ok {
    my $s = Net::EasyTCP->new(mode => 'server', port => '00');
    $s->watch($pipe, sub { });
    Net::EasyTCP::_wake($s, 99, sub { });
} 'a server that watches';

require FakeRedis;
require Net::EasyTCP::Cluster;
# What a cluster comes back to in time is the server's, and goes with it.
sub cluster {
    my $server  = Net::EasyTCP->new(mode => 'server', port => '00');
    my $cluster = Net::EasyTCP::Cluster->new(server => $server, class => 'FakeRedis', stream => 's',
        gap => sub { }, @_);
    return ($server, $cluster);
}
cluster();
no_leaks_ok { my @both = cluster(); @both = reverse @both; FakeRedis::reset_all() } 'new, a cluster';
no_leaks_ok {
    cluster(maxlen => 'x');
    cluster(class => 'No::Such');
    FakeRedis::reset_all();
} 'new, a wrong one';
no_leaks_ok {
    my ($server, $cluster) = cluster();
    $cluster->broadcast($structure);
    $cluster->broadcast(undef);
    $server->process(0.01) for 1 .. 3;
    FakeRedis::cut();
    $server->process(0.01) for 1 .. 3;
    undef $cluster;
    FakeRedis::reset_all();
} 'broadcasts, and a connection that breaks';
no_leaks_ok { visit('') } 'a visit';
no_leaks_ok {
    my $sock = raw_connect($port);
    syswrite $sock, "garbage\r\n";
    1 until has_closed($sock, $idle);
} 'a stranger';
my %hybrid = (
    'nothing'              => sub { },
    'data'                 => sub { my $data = $_[0]->data; my @none = $_[0]->data },
    'an answer'            => sub { $_[0]->send($_[0]->data) },
    'answers'              => sub {
        my $data = $_[0]->data;
        $_[0]->send($data) for 1 .. 10;
        $_[0]->send($structure);
    },
    'facts of a hybrid'    => sub {
        my $c = shift;
        $c->$_ for qw(mode serial compression encryption remoteip remoteport pending);
    },
    'the socket'           => sub { $_[0]->socket->sockport },
    'own entries'          => sub { $_[0]{mine} = { text => 'x' } },
    'a receive inside'     => sub { $_[0]->data; $_[0]->receive(0.01) },
    'close inside'         => sub { $_[0]->close },
    'disconnect inside'    => sub { $_[0]->disconnect },
    'clients'              => sub { my @c = $server->clients },
    'a loop inside'        => sub { $_[0]->data; $server->do_one_loop },
    'stop'                 => sub { $server->stop },
);
foreach my $name (sort keys %hybrid) {
    $each = $hybrid{$name};
    no_leaks_ok {
        visit(packet(5, 'text') x 3 . packet(7, Storable::nfreeze($structure)));
    } "a visit with $name";
}
$each = sub { my $data = $_[0]->data };
no_leaks_ok { visit(packet(7, 'no image')) } 'a visit with a bad image';
no_leaks_ok { visit(packet(5, 'half a message') . "\x05\x02\x10\x00half") } 'a visit that is cut';
no_leaks_ok { visit(packet(5, 'x' x 300_000)) } 'a visit with a large message';
no_leaks_ok {
    my ($own, $own_port) = new_server(%plain);
    $own->setcallback(data => sub { die "on purpose\n" });
    my $sock = raw_negotiate(raw_connect($own_port), sub { $own->do_one_loop });
    syswrite $sock, packet(5, 'x');
    my $died;
    until ($died) { eval { $own->do_one_loop; 1 } or $died = 1 }
} 'a callback that dies, and a server dropped with a client';

# ---- memory -------------------------------------------------------------------------------------

SKIP: {
    skip 'no /proc to see memory with', 3 unless defined rss_kb();
    my $connections = $ENV{LEAKS_CONNECTIONS} || 2000;
    my $warm = 500;
    my $many = spawn_server();
    my @options = ({%plain}, { donotencrypt => 1 }, { donotcompress => 1 }, {});
    my $failed = 0;
    my ($client_before, $server_before);
    foreach my $n (1 .. $warm + $connections) {
        ($client_before, $server_before) = (rss_kb(), rss_kb($many->pid)) if $n == $warm;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $many->{port},
            %{ $options[ $n % @options ] });
        my $message = $n % 3 ? "message $n" : [ 'message', $n ];
        my $back = $client && $client->send($message) && $client->receive;
        $failed++ unless defined $back && ref $back eq ref $message
            && (ref $back ? $back->[1] == $n : $back eq $message);
        syswrite raw_connect($many->{port}), "\xff" x ($n % 50) unless $n % 7;
    }
    my ($client_grown, $server_grown) = (rss_kb() - $client_before, rss_kb($many->pid) - $server_before);
    is($failed, 0, "$connections connections");
    cmp_ok($client_grown, '<', 1024, "a client's memory is flat ($client_grown KiB more)");
    cmp_ok($server_grown, '<', 1024, "a server's memory is flat ($server_grown KiB more)");
    $many->kill('TERM');
}

done_testing();
