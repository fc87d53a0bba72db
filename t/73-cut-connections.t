# A peer that stops at any byte of the negotiation or of a message, in either role: what was whole arrives,
# nothing else does, the connection is closed, and there is an error text.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my @warnings;
$SIG{__WARN__} = sub { push @warnings, @_ };

# ---- clients that stop --------------------------------------------------------------------------

my $CUTS = 10;    # clients of one server with a password: eight guesses are free, two more wait for 0.3 s

# A server that notes what happens, with one client of the old protocol that stays.
sub open_scene {
    my ($server_options, %o) = @_;
    my ($server, $port) = new_server(%$server_options);
    my %scene = (server => $server, port => $port, connected => {}, got => [], gone => []);
    $server->setcallback(
        connect    => sub { $scene{connected}{ $_[0]->serial }++ },
        data       => sub { push @{ $scene{got} }, scalar $_[0]->data },
        disconnect => sub { push @{ $scene{gone} }, $_[0]->serial },
    );
    $scene{idle} = loop_of($server);
    $scene{other} = OldPeer->client(%o, port => $port, idle => $scene{idle}) or BAIL_OUT(OldPeer->error);
    run_until($server, sub { keys %{ $scene{connected} } == 1 });
    return \%scene;
}

# A client that writes $budget bytes and stops. Returns whether that was all of the message, whether it was
# not even all of the negotiation, and whether what should not happen did.
sub cut_client {
    my ($scene, $message, $budget, %o) = @_;
    my ($server, $connected, $got, $gone) = @$scene{qw(server connected got gone)};
    my ($connects, $messages, $whole) = (scalar keys %$connected, scalar @$got, 0);
    my $sock = raw_connect($scene->{port});
    my $peer = OldPeer->client(%o, sock => $sock, budget => $budget, idle => $scene->{idle});
    if ($peer) {    # otherwise it has closed already
        $whole = 1 if eval { $peer->send($message) };
        shutdown $sock, 1;
        1 until has_closed($sock, $scene->{idle});
        $peer->close;
    }
    run_until($server, sub { @$gone == keys(%$connected) - 1 });
    my $wrong = @$got != $messages + $whole || ($whole && !same($got->[-1], $message))
        || keys(%$connected) > $connects + 1 || $whole && keys(%$connected) == $connects
        || ($server->clients) != 1;
    return ($whole, keys(%$connected) == $connects, $wrong);
}

# Runs connections that write $n bytes for each $n up to a whole one, in which the client says $message.
sub cut_clients {
    my ($name, $message, $server_options, %o) = @_;
    my ($scene, @scenes);
    my ($wrong, $whole, $cut, $n) = (0, 0, 0, 0);
    until ($whole) {
        push @scenes, $scene = open_scene($server_options, %o)
            if !$scene || defined $o{password} && $n % $CUTS == 0;
        ($whole, my ($early, $odd)) = cut_client($scene, $message, $n, %o);
        $cut++ if $early;
        $wrong++ if $odd;
        $n++;
    }
    cmp_ok($cut, '>', 10, "$name: $n clients, of which $cut stop within the negotiation");
    cmp_ok($n - $cut, '>', 5, "$name: and the rest in a message");
    is($wrong, 0, "$name: whole messages arrive, and nothing else happens");
    my $served = grep { is_served($_, $message) } @scenes;
    is($served, scalar @scenes, "$name: the others are served");
    return;
}

# Whether the client that stayed is still heard.
sub is_served {
    my ($scene, $message) = @_;
    my $before = @{ $scene->{got} };
    $scene->{other}->send($message);
    run_until($scene->{server}, sub { @{ $scene->{got} } == $before + 1 });
    return same($scene->{got}[-1], $message);
}

sub same {
    my ($got, $want) = @_;
    return 0 unless defined $got && ref $got eq ref $want;
    return ref $got ? "@$got" eq "@$want" : $got eq $want;
}

# ---- servers that stop --------------------------------------------------------------------------

sub cut_servers {
    my ($name, $message, $client_options, %o) = @_;
    my $villain = spawn(sub {
        my $me = shift;
        $SIG{PIPE} = 'IGNORE';
        my $listener = OldPeer->listener(%o) or die OldPeer->error;
        $me->report($listener->port);
        my $whole = 0;
        for (my $n = 0; !$whole; $n++) {
            my $peer = $listener->accept(budget => $n);
            $whole = 1 if $peer && eval { $peer->send($message) };
            $peer->close if $peer;
            $me->report($whole);
        }
    });
    my $port = $villain->line;
    my ($refused, $silent, $wrong, $whole) = (0, 0, 0, 0);
    until ($whole) {
        $@ = '';
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port,
            %$client_options);
        my $error = $@;
        my $got;
        if ($client) {
            $@ = '';
            $got = $client->receive(100);
            $error = $@;
            $client->close;
        }
        $whole = $villain->line;
        BAIL_OUT("$name: the server ended") unless defined $whole;
        my $text = $client ? qr/^(?:Socket closed when attempted reading|Failed to read from socket: .+)$/
            : qr{^Error negotiating with server: Client timed out while negotiating with server \[\d+/90\]};
        if ($whole) {
            $wrong++ unless same($got, $message);
        }
        elsif (defined $got || $error !~ $text) {
            $wrong++;
            diag "$name: $error" if $wrong == 1;
        }
        $client ? $silent++ : $refused++;
    }
    $villain->wait;
    cmp_ok($refused, '>', 10, "$name: $refused servers stop within the negotiation");
    cmp_ok($silent, '>', 5, "$name: $silent later");
    is($wrong, 0, "$name: new() or receive() says so, and whole messages arrive");
    return;
}

my %plain = (donotencrypt => 1, donotcompress => 1);
cut_clients('plain clients', 'a message', { %plain }, version => '0.19');
cut_servers('plain servers', 'a message', { %plain }, version => '0.14');
cut_clients('structures', [ 1, 'two', 3 ], { %plain }, version => '0.09');
cut_servers('structures of servers', [ 1, 'two', 3 ], { %plain }, version => '0.09');
SKIP: {
    my %usable = map { $_ => 1 } OldPeer->usable_ciphers;
    skip 'no Crypt::Blowfish and Crypt::CBC, or no traditional crypt()', 7 unless $usable{4}
        && OldPeer->has_crypt;
    my %o = (version => '0.19', ciphers => ['4'], password => 'sesame');
    cut_clients('sealed clients', 'a message', { password => 'sesame' }, %o);
    cut_servers('sealed servers', 'a message', { password => 'sesame' }, %o);
}
is_deeply(\@warnings, [], 'no warnings');

done_testing();
