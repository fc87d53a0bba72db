# The server and the client with a password, as the manual's SECURITY prints them to be copied: they talk to
# each other, and nobody else gets in.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use File::Temp ();
use OldPeer;
use Net::EasyTCP;

plan skip_all => "TLS cannot be had: $@" if !tls_usable();

my $folder = File::Temp::tempdir('password-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $secret = "$folder/password";
my $FAILED = 'Cannot connect: Error negotiating with server:';

# The two blocks of code behind the heading.
sub blocks {
    open my $pod, '<', $INC{'Net/EasyTCP.pm'} or die $!;
    my $text = do { local $/; <$pod> };
    my ($section) = $text =~ /^=head2 A server and a client with a password$(.*?)^=head/ms or return;
    my @blocks = $section =~ /((?:^    .*\n|^\n(?=(?:\n)*    ))+)/mg;
    return grep {/\S/} @blocks;
}

my ($server_text, $client_text, @more) = blocks();
ok($client_text, 'the manual has a server and a client') or BAIL_OUT('no examples');
is(scalar @more, 0, 'and no more');
my ($subroutine) = $server_text =~ /^(    sub password.*?^    \}\n)/ms;
ok($subroutine, 'with a subroutine that both use');

sub write_password {
    my ($text, $mode) = @_;
    open my $out, '>', $secret or die $!;
    print {$out} $text;
    close $out or die $!;
    chmod $mode, $secret;
    return;
}

# Runs a program as the manual has it, but for the file, the host and the port. Returns all that it says.
my $count = 0;

sub script {
    my ($text, $port) = @_;
    my $name = "$folder/script" . $count++ . '.pl';
    my $replaced = 0;
    $replaced++ while $text =~ s{/etc/echo/password}{$secret};
    $text =~ s/(=> )2345/$1$port/ and $replaced++;
    $text =~ s/server\.example\.com/127.0.0.1/;
    $replaced == 2 or die 'the manual has other names';
    open my $out, '>', $name or die $!;
    print {$out} $text;
    close $out or die $!;
    return ($^X, (map {"-I$_"} @INC), $name);
}

sub run_client {
    my $port = shift;
    my $text = "use strict; use warnings; use Net::EasyTCP;\n$client_text\n$subroutine";
    my $pid = open my $out, '-|';
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec script($text, $port) or die;
    }
    my $said = do { local $/; <$out> };
    close $out;
    return $said;
}

# ---- they talk ---------------------------------------------------------------------------------------

write_password("correct horse battery staple\n", 0600);
my ($port, $pid, $client);
for (1 .. 50) {
    $port = free_port();
    my @command = script($server_text, $port);
    $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) { exec @command or die }
    $EasyTCPTest::Children{$pid} = 1;
    for (1 .. 3000) {
        $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port,
            password => 'correct horse battery staple') and last;
        last if waitpid($pid, POSIX::WNOHANG()) == $pid;
        select undef, undef, undef, 0.01;
    }
    last if $client;
}
ok($client, 'the server runs') or BAIL_OUT($@);
is($client->encryption, 'TLS', 'and speaks TLS');
is($client->trust, 'password', 'which the password proves');
is(run_client($port), "Got: hello\n", 'the client gets its answer');

# ---- nobody else -------------------------------------------------------------------------------------

foreach my $case ([ 'another password' => password => 'correct horse battery stable' ], ['no password'],
    [ 'no TLS' => password => 'correct horse battery staple', donotencryptwith => 'TLS' ])
{
    my ($name, @options) = @$case;
    ok(!Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, @options),
        "$name: no connection");
}
ok(!OldPeer->client(version => '0.26', port => $port, password => 'correct horse battery staple'),
    'an old peer: no connection');
ok($client->send(bless {}, 'Some::Class'), 'an object is sent');
is($client->receive(0.01), undef, 'and not answered');
$client->send('still there');
is($client->receive(60), 'Got: still there', 'the server lives');

write_password("correct horse battery stable\n", 0600);
is(run_client($port), "$FAILED The server does not know the password\n",
    'a client with another password is told');
{
    my $clear = spawn_server(donotencryptwith => 'TLS', password => 'correct horse battery stable');
    is(run_client($clear->{port}), "$FAILED The server offers no TLS\n",
        'a client that finds no TLS is told');
    my $open = spawn_server();
    is(run_client($open->{port}),
        "$FAILED A password is required, but the server asked for none\n",
        'a client that is not asked for the password is told');
}
write_password("\n", 0600);
is(run_client($port), "$secret is empty\n", 'an empty password ends the program');
write_password('', 0600);
is(run_client($port), "$secret is empty\n", 'an empty file does, too');
write_password("sesame\n", 0640);
is(run_client($port), "$secret can be read by others\n", 'and one that others can read');
unlink $secret;
like(run_client($port), qr/^Cannot read \Q$secret\E: /, 'and none');

kill KILL => $pid;
waitpid $pid, 0;
delete $EasyTCPTest::Children{$pid};
done_testing();
