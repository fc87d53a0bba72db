# A thousand clients with callbacks in one process, in one loop, to one server: all of them negotiate, and
# all get their answers.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

my $COUNT = 1000;

# As many descriptors as are allowed, less what is needed for other things.
sub descriptors {
    my $limit = `sh -c 'ulimit -n' 2>&1`;
    return $limit =~ /^(\d+)/ ? $1 : $COUNT + 100;
}

my $most = descriptors() - 100;
$COUNT = $most if $most < $COUNT;
plan skip_all => 'too few descriptors' if $COUNT < 100;

# Their negotiation is what all do that is not encrypted; what TLS costs is no matter of loops.
my $server = spawn_server(donotencrypt => 1, maxhalfopen => 0);
my ($connected, $gone, @answers, @errors) = (0, 0);
my @clients;
for my $number (1 .. $COUNT) {
    my $client = Net::EasyTCP->new(
        mode => 'client', host => '127.0.0.1', port => $server->{port}, async => 1, donotencrypt => 1,
        ($clients[0] ? (loop => $clients[0]) : ()),
    ) or die $@;
    $client->setcallback(
        connect    => sub { $connected++ },
        data       => sub { push @answers, scalar $_[0]->data },
        disconnect => sub { $gone++ },
        error      => sub { push @errors, $_[1] },
    );
    $client->send("early $number");
    push @clients, $client;
}
is($connected, 0, 'new() does not wait');
$clients[0]->process(1) until @answers + @errors >= $COUNT;
is_deeply(\@errors, [], 'no attempt failed');
is($connected, $COUNT, "$COUNT clients have connected");
is_deeply([ sort @answers ], [ sort map { "early $_" } 1 .. $COUNT ], 'and each has its answer');

@answers = ();
$clients[$_]->send("late $_") for 0 .. $#clients;
$clients[0]->process(1) until @answers >= $COUNT || $gone;
is_deeply([ sort @answers ], [ sort map { "late $_" } 0 .. $#clients ], 'again');

# All but the one whose loop it is.
splice @clients, 1;
$clients[0]->process(0.01) for 1 .. 3;
@answers = ();
$clients[0]->send('alone');
$clients[0]->process(1) until @answers || $gone;
is_deeply(\@answers, ['alone'], 'the others are gone, and the loop goes on');

done_testing();
