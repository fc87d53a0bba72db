# tls => 'direct' with stunnel and HAProxy, in both directions: they end TLS for a plain server, and begin it
# for a client that knows none. Needs stunnel4, haproxy and openssl; EASYTCP_SERVICES=1 runs it.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use File::Temp ();
use IO::Socket::INET;
use OldPeer;
use POSIX ();
use Net::EasyTCP;

plan skip_all => 'EASYTCP_SERVICES is not set' if !$ENV{EASYTCP_SERVICES};

my $folder = File::Temp::tempdir('tls-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @children;
END { kill 'KILL', @children if @children }

sub program {
    my ($found) = grep { -x } map {
        my $name = $_;
        map {"$_/$name"} qw(/usr/bin /usr/sbin /usr/local/bin /usr/local/sbin);
    } @_;
    return $found;
}

sub write_file {
    my ($name, $text) = @_;
    open my $fh, '>', "$folder/$name" or die $!;
    print {$fh} $text;
    close $fh;
    return "$folder/$name";
}

# Starts a program, and waits until it listens.
sub start {
    my ($port, @command) = @_;
    my $pid = fork;
    if (!$pid) {
        $EasyTCPTest::Watchdog = undef;
        open STDOUT, '>', "$folder/log";
        open STDERR, '>&', \*STDOUT;
        exec { $command[0] } @command or POSIX::_exit(1);
    }
    push @children, $pid;
    for (1 .. 600) {
        return $pid if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
        select undef, undef, undef, 0.1;
    }
    die "$command[0] does not listen";
}

sub stop {
    my $pid = shift;
    kill 'TERM', $pid;
    waitpid $pid, 0;
    @children = grep { $_ != $pid } @children;
    return;
}

my $openssl = program('openssl') or plan skip_all => 'no openssl';
system("$openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        . '-addext subjectAltName=DNS:localhost,IP:127.0.0.1 '
        . "-keyout $folder/key -out $folder/cert 2>/dev/null") == 0
    or die 'no certificate';
write_file(pem => join '', map { open my $fh, '<', "$folder/$_" or die $!; local $/; <$fh> } qw(cert key));

sub stunnel {
    my ($is_client, $from, $to) = @_;
    my $program = program('stunnel4', 'stunnel');
    return if !$program;
    return start($from, $program, write_file('stunnel.conf', join "\n", 'foreground = yes', 'pid =', '[x]',
        "accept = 127.0.0.1:$from", "connect = 127.0.0.1:$to",
        $is_client ? 'client = yes' : "cert = $folder/pem", ''));
}

sub haproxy {
    my ($is_client, $from, $to) = @_;
    my $program = program('haproxy');
    return if !$program;
    my ($front, $back) = $is_client ? ('', ' ssl verify none') : (" ssl crt $folder/pem", '');
    return start($from, $program, '-db', '-f', write_file('haproxy.cfg', <<"END"));
defaults
    mode tcp
    timeout connect 30s
    timeout client 300s
    timeout server 300s
listen x
    bind 127.0.0.1:$from$front
    server s 127.0.0.1:$to$back
END
}

sub talks {
    my ($client, $name) = @_;
    return fail("$name: $@") if !$client;
    foreach my $message ('short', { long => 'x' x 200_000 }) {
        $client->send($message);
        is_deeply($client->receive(60), $message, "$name: talks");
    }
    return;
}

foreach my $case ([ stunnel => \&stunnel ], [ HAProxy => \&haproxy ]) {
    my ($name, $proxy) = @$case;
  SKIP: {
        # The proxy ends TLS, and a plain server stands behind it: of this release, or an old one.
        my $server = spawn_server(password => 'sesame');
        my $port = free_port();
        my $pid = $proxy->(0, $port, $server->{port}) or skip "no $name", 1;
        my %to = (mode => 'client', host => '127.0.0.1', port => $port, tls => 'direct');
        ok(!Net::EasyTCP->new(%to, password => 'sesame'), "$name ends TLS: the password is kept");
        like($@,
            qr/The server's TLS ends before the server, and nothing proves whose it is: the password is kept/,
            'text');
        foreach my $proof ([ tlsca => "$folder/cert" ], [ tlsca => "$folder/cert", tlsname => 'localhost' ]) {
            my $client = Net::EasyTCP->new(%to, password => 'sesame', @$proof);
            talks($client, "$name ends TLS: with $proof->[0]");
            is($client && $client->encryption, 'TLS', "$name ends TLS: encryption");
        }
        ok(!Net::EasyTCP->new(%to, password => 'wrong', tlsca => "$folder/cert"),
            "$name ends TLS: a wrong password");
        like($@, qr/Server rejected supplied password$/, 'text');
        stop($pid);
        $server->kill;

        $server = spawn_server(donotencrypt => 1);
        $port = free_port();
        $pid = $proxy->(0, $port, $server->{port});
        talks(Net::EasyTCP->new(%to, port => $port), "$name ends TLS: no password");
        stop($pid);
        $server->kill;

        # The proxy begins TLS, for clients that know none.
        $server = spawn_server(tls => 'direct', password => 'sesame', tlscert => "$folder/cert",
            tlskey => "$folder/key");
        $port = free_port();
        $pid = $proxy->(1, $port, $server->{port});
        talks(Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, password => 'sesame'),
            "$name begins TLS: for a client of this release");
        my $old = OldPeer->client(version => '0.26', port => $port, password => 'sesame');
        ok($old, "$name begins TLS: for an old client");
        if ($old) {
            $old->send('old');
            is($old->receive, 'old', "$name begins TLS: which talks");
        }
        stop($pid);
        $server->kill;
    }
}

done_testing();
