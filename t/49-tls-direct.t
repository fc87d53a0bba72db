# TLS from the first byte, between two peers of this release and with what else speaks TLS (openssl, where it
# is installed; xt/services/tls.t has stunnel and HAProxy).
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Socket::INET;
use Net::EasyTCP;

plan skip_all => "TLS cannot be had: $@" if !tls_usable();

sub connect_to {
    my ($port, @options) = @_;
    $@ = '';
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, tls => 'direct', @options);
}

sub talks {
    my ($client, $name) = @_;
    return fail("$name: $@") if !$client;
    my $message = { name => $name, long => 'x' x 50_000 };
    $client->send($message);
    is_deeply($client->receive(60), $message, "$name: talks");
    is($client->encryption, 'TLS', "$name: encryption");
    return;
}

# ---- the option --------------------------------------------------------------------------------------

foreach my $options ([ mode => 'server', port => '00' ],
    [ mode => 'client', host => '127.0.0.1', port => 1 ]) {
    ok(!Net::EasyTCP->new(@$options, tls => 'yes'), "$options->[1]: another word");
    like($@, qr/tls must be 'upgrade' or 'direct'$/, "$options->[1]: text");
    foreach my $none ([ donotencrypt => 1 ], [ donotencryptwith => 'TLS' ],
        [ requireencryption => 'Crypt::DES' ]) {
        ok(!Net::EasyTCP->new(@$options, tls => 'direct', @$none), "$options->[1]: direct and $none->[0]");
        like($@, qr/tls and donotencrypt contradict each other$/, "$options->[1]: text");
    }
}

# ---- two peers of this release -----------------------------------------------------------------------

{
    my $server = spawn_server(tls => 'direct');
    talks(connect_to($server->{port}), 'no password');
    my $client = connect_to($server->{port}, tlsfingerprint => connect_to($server->{port})->peerfingerprint);
    is($client && $client->trust, 'fingerprint', 'fingerprint: trusted');
    ok(!connect_to($server->{port}, password => 'sesame'), 'a password nobody asks for');
    like($@, qr/A password is required, but the server asked for none$/, 'text');

    # Clear text is no beginning.
    my $plain = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->{port});
    syswrite $plain, "\1\1\2NO";
    my $answer = '';
    1 while sysread $plain, $answer, 4096, length $answer;
    unlike($answer, qr/HELLO/, 'clear text is not answered');
    talks(connect_to($server->{port}), 'afterwards');
    $server->kill;

    $server = spawn_server(tls => 'direct', password => 'sesame');
    talks($client = connect_to($server->{port}, password => 'sesame'), 'password');
    is($client->trust, 'password', 'password: is what was trusted');
    ok(!connect_to($server->{port}, password => 'sesami'), 'another password');
    like($@, qr/The server does not know the password$/, 'text');
    ok(!connect_to($server->{port}), 'no password');
    like($@, qr/Server rejected supplied password$/, 'text');
    $server->kill;

    $server = spawn_server();
    ok(!connect_to($server->{port}), 'a server that waits to be asked for TLS');
    like($@, qr/^Error negotiating with server: TLS: /, 'text');
    $server->kill;
}

# A connection that was accepted elsewhere begins with TLS, too.
{
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
    my $child = spawn(sub {
        my $me = shift;
        my $server = Net::EasyTCP->new(mode => 'server', listen => 0, tls => 'direct') or die $@;
        $server->setcallback(data => sub { $_[0]->send($_[0]->data) }) or die $@;
        $me->report($server->adopt(scalar $listener->accept) ? 'adopted' : $@);
        $server->start;
    });
    talks(connect_to($listener->sockport), 'adopted');
    is($child->line, 'adopted', 'adopt');
    $child->kill;
}

# ---- openssl -----------------------------------------------------------------------------------------

SKIP: {
    my $version = `openssl version 2>&1`;
    skip 'no openssl program', 5 if !defined $version || $version !~ /^OpenSSL (?:1\.1\.1|[3-9])/;
    my $server = spawn_server(tls => 'direct');
    my $pid = open my $out, '-|',
        "exec openssl s_client -quiet -connect 127.0.0.1:$server->{port} </dev/null 2>&1";
    my $read = '';
    sysread($out, $read, 4096, length $read) or last while $read !~ /ETCP1/;
    like($read, qr/SERVER READY/, 's_client: the welcome of old, as nobody named our protocol');
    unlike($read, qr/T1\w*\z/, 's_client: without an offer of TLS in TLS');
    kill 'KILL', $pid;
    close $out;
    my $to = "127.0.0.1:$server->{port}";
    $pid = open $out, '-|', "exec openssl s_client -alpn h2 -connect $to </dev/null 2>&1";
    $read = do { local $/; <$out> };
    close $out;
    like($read, qr/alert/, 's_client that names another one: refused');
    talks(connect_to($server->{port}), 'afterwards');
    ok($server->kill, 'the server lives');
}

done_testing();
