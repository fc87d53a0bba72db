# examples/secure-gateway.pl carries the messages of old peers over TLS: between two of them, and to a server
# of this release. With EASYTCP_PEER_LIB (see t/85-original.t) the old peers are true originals.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my $program = 'examples/secure-gateway.pl';
plan skip_all => 'the examples are not here' if !-e $program;
plan skip_all => "TLS cannot be had: $@" if !tls_usable();
my @libs = grep { length } split /:/, $ENV{EASYTCP_PEER_LIB} || '';
my (@running, @pipes);    # closing a pipe would wait for its program
END { kill 'KILL', @running if @running }

# Starts a program and waits for what it says about its port.
sub run {
    my ($environment, @command) = @_;
    local @ENV{ keys %$environment } = values %$environment;
    my $pid = open my $out, '-|', @command or die "cannot run $command[0]: $!";
    push @running, $pid;
    push @pipes, $out;
    my $self = { pid => $pid, out => $out };
    while (defined(my $line = <$out>)) {
        $self->{key} = $1 if $line =~ /^Key (\S+)/;
        return { %$self, port => $1 } if $line =~ /port (\d+)/i && "@command" !~ /--listen tls/;
        $self->{port} = $1 if $line =~ /port (\d+)/i;
        return $self if $self->{key};
    }
    die "@command: did not start";
}

sub gateway {
    my ($environment, $listen, $connect, $to, @options) = @_;
    return run($environment, $^X, (map {"-I$_"} @INC), $program, '--listen', $listen, '--connect', $connect,
        @options,
        '127.0.0.1:0', "127.0.0.1:$to");
}

my @MESSAGES = ('hello', { a => 1, b => [ 2, 3 ] }, join('', map { chr($_ * 7 & 255) } 1 .. 100_000),
    'the end');

sub echoed {
    my ($client, $name) = @_;
    return fail("$name: not connected") if !$client;
    foreach my $n (0 .. $#MESSAGES) {
        $client->send($MESSAGES[$n]);
        is_deeply($client->receive, $MESSAGES[$n], "$name: message $n came back");
    }
    return;
}

# Near the clients, near the server: a password of the old peers at each end, another one in between. $hops
# more in the middle, TLS on both sides, each with a password of its own.
sub chain {
    my ($server_port, $hops, @fingerprint) = @_;
    my $far = gateway({ EASYTCP_LISTEN_PASSWORD => 'between', EASYTCP_CONNECT_PASSWORD => 'sesame' }, 'tls',
        'old',
        $server_port);
    my $secret = 'between';
    foreach my $hop (1 .. $hops) {
        $far = gateway({ EASYTCP_LISTEN_PASSWORD => "hop $hop", EASYTCP_CONNECT_PASSWORD => $secret }, 'tls',
            'tls',
            $far->{port});
        $secret = "hop $hop";
    }
    my $near = gateway({ EASYTCP_LISTEN_PASSWORD => 'sesame', EASYTCP_CONNECT_PASSWORD => $secret }, 'old',
        'tls',
        $far->{port}, @fingerprint ? (@fingerprint, $far->{key}) : ());
    return ($near, $far);
}

SKIP: {
    skip 'no traditional crypt() here', 8 unless OldPeer->has_crypt;

    # An old client, two gateways, and a server that speaks as before 1.10.
    my $server = spawn_server(password => 'sesame', donotencryptwith => 'TLS');
    my ($near, $far) = chain($server->{port}, 0, '--fingerprint');
    echoed(OldPeer->client(version => '0.26', port => $near->{port}, password => 'sesame'), 'two gateways');
    ok(!OldPeer->client(version => '0.26', port => $near->{port}, password => 'wrong'),
        'the password of the near end is asked for');
    ok(!OldPeer->client(version => '0.26', port => $far->{port}, password => 'between'),
        'nothing but TLS in between');
    $server->kill;

    # One gateway, and a server of this release.
    $server = spawn_server(password => 'between', requireencryption => 'TLS');
    $near = gateway({ EASYTCP_LISTEN_PASSWORD => 'sesame', EASYTCP_CONNECT_PASSWORD => 'between' }, 'old',
        'tls',
        $server->{port});
    echoed(OldPeer->client(version => '0.26', port => $near->{port}, password => 'sesame'), 'one gateway');
    $server->kill;

    # Old peers at both ends, and TLS twice in between.
    foreach my $server_version (qw(0.19 0.26)) {
        $server = spawn_peer(sub {
            my ($me, $peer) = @_;
            $me->report('CONNECTED');
            while (defined(my $message = $peer->receive)) { $peer->send($message) }
        }, version => $server_version, password => 'sesame');
        ($near) = chain($server->{port}, 1);
        foreach my $client_version (qw(0.19 0.26)) {
            my $client = OldPeer->client(version => $client_version, port => $near->{port},
                password => 'sesame');
            echoed($client, "client $client_version, TLS twice, server $server_version");
            is($server->line, 'CONNECTED', "client $client_version: the server was asked");
            $client->close if $client;
        }
        $server->kill;
    }
}

ok(system("$^X -Mblib $program --listen old --connect tls 127.0.0.1:0 127.0.0.1:1 >/dev/null 2>&1") != 0,
    'nobody connects to just anybody');

foreach my $server_lib (@libs) {
    foreach my $client_lib (@libs) {
        my ($server_name, $client_name) = map { m{([\d.]+)/lib} ? $1 : $_ } $server_lib, $client_lib;
        my $server = run({}, $^X, "-I$server_lib", 't/lib/original.pl', 'server', 'password=sesame');
        my ($near) = chain($server->{port}, 1);
        my $client = "client port=$near->{port} host=127.0.0.1 password=sesame messages=leave";
        my $said = `$^X -I$client_lib t/lib/original.pl $client`;
        is(scalar(() = $said =~ /^SAME /mg), 4,
            "client $client_name, TLS twice, server $server_name: four messages came back")
            or diag($said);
        unlike($said, qr/^DIFF|^DOWN/m, "client $client_name, server $server_name: nothing else");
    }
}

done_testing();
