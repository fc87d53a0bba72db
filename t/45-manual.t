# The two examples of the manual, as they are printed there: a server that echoes, and a client that
# sends a string, a hash and two megabytes of binary data.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my $child = spawn(sub {
    my $me = shift;
    my ($server, $port) = new_server();
    my $gotdata = sub {
        my $client = shift;
        my $serial = $client->serial();
        my $data   = $client->data();
        $me->report("data $serial");
        $client->send($data) || die "ERROR SENDING TO CLIENT: $@\n";
        if ($data eq "QUIT") {
            $client->close() || die "ERROR CLOSING CLIENT: $@\n";
        }
        elsif ($data eq "DIE") {
            $server->stop() || die "ERROR STOPPING SERVER: $@\n";
        }
    };
    $server->setcallback(
        data       => $gotdata,
        connect    => sub { $me->report('connect ' . $_[0]->serial) },
        disconnect => sub { $me->report('disconnect ' . $_[0]->serial) },
    ) || die "ERROR SETTING CALLBACKS: $@\n";
    $me->report("PORT $port");
    $server->start() || die "ERROR STARTING SERVER: $@\n";
    $me->report('running: ' . $server->running);
});
my ($port) = $child->line =~ /^PORT (\d+)/ or BAIL_OUT('no server');

my $client = new Net::EasyTCP(
    mode => "client",
    host => 'localhost',
    port => $port,
) || die "ERROR CREATING CLIENT: $@\n";
is($child->line, 'connect 1', 'connect callback');

ok($client->send("HELLO THERE"), 'send a string');
my $reply = $client->receive();
is($reply, 'HELLO THERE', 'receive a string');
is($child->line, 'data 1', 'data callback');

my %hash = ("to be or" => "not to be", "just another" => "perl hacker");
ok($client->send(\%hash), 'send a hash');
$reply = $client->receive();
is_deeply($reply, \%hash, 'receive a hash');
is($child->line, 'data 1', 'data callback');

my $largedata = '';
for (1 .. 8192) {
    for (0 .. 255) {
        $largedata .= chr($_);
    }
}
ok($client->send($largedata), 'send 2 MB of binary data');
$reply = $client->receive();
ok(defined $reply && $reply eq $largedata, 'receive 2 MB of binary data');
is($child->line, 'data 1', 'data callback, once');

ok($client->close(), 'disconnect cleanly');
is($child->line, 'disconnect 1', 'disconnect callback');

$client = Net::EasyTCP->new(mode => 'client', host => 'localhost', port => $port) or die $@;
is($child->line, 'connect 2', 'the next client has the next serial');
$client->send('QUIT');
is($client->receive, 'QUIT', 'the answer to QUIT comes before the end');
is($child->line, 'data 2', 'data callback');
is($client->receive, undef, 'then the server has closed');
is($@, 'Socket closed when attempted reading', 'and the text says so');

$client = Net::EasyTCP->new(mode => 'client', host => 'localhost', port => $port) or die $@;
$client->send('DIE');
is($client->receive, 'DIE', 'the answer to DIE comes before the server stops');
is_deeply([ $child->rest ], [ 'connect 3', 'data 3', 'running: 0' ],
    'no disconnect callback for a close of its own; start() returned');
is($child->wait, 0, 'the server ends well');

done_testing();
