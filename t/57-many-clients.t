# A thousand simultaneous clients, each of them answered.
use strict;
use warnings;
use Test::More;
use lib 't/lib';

# Descriptors may be fewer than that: ask the shell for more, once, before anything is opened.
BEGIN {
    if (!$ENV{EASYTCP_TEST_RAISED}) {
        my $limit = `ulimit -n 2>/dev/null`;
        if (defined $limit && $limit =~ /^(\d+)/ && $1 < 1100) {
            local $ENV{EASYTCP_TEST_RAISED} = 1;
            my @again = ($^X, (map { "-I$_" } grep { !ref } @INC), $0);
            exec 'sh', '-c', 'ulimit -n 1200 2>/dev/null; exec "$@"', 'sh', @again;
        }
    }
    delete $ENV{EASYTCP_TEST_RAISED};
}

use EasyTCPTest;
use Net::EasyTCP;

my $limit = `ulimit -n 2>/dev/null`;
chomp $limit if defined $limit;
plan skip_all => "only $limit descriptors" if defined $limit && $limit =~ /^\d+$/ && $limit < 1100;

my $COUNT = 1000;
my ($connected, $left) = (0, 0);
my $server = spawn_server(
    donotencrypt => 1,
    donotcompress => 1,
    callbacks => {
        connect => sub { $EasyTCPTest::Me->report('full') if ++$connected == $COUNT },
        data => sub {
            my $client = shift;
            my $data = $client->data;
            $data = join ' ', scalar $EasyTCPTest::Server->clients, $data if $data eq 'count';
            $client->send($data);
        },
        disconnect => sub { $EasyTCPTest::Me->report("empty $connected") if ++$left == $COUNT },
    },
);

my @clients;
foreach (1 .. $COUNT) {
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port});
    if (!$client) {
        diag "client $_: $@";
        last;
    }
    push @clients, $client;
}
is(scalar @clients, $COUNT, "$COUNT clients connect") or do { $server->kill; done_testing(); exit };
is($server->line, 'full', 'each with a connect callback');
$clients[0]->send('count');
is($clients[0]->receive, "$COUNT count", 'clients() counts them');

foreach my $round (1 .. 3) {
    my $sent = 0;
    foreach my $n (0 .. $#clients) { $sent++ if $clients[$n]->send("ping $round $n") }
    is($sent, $COUNT, "round $round: all send");
    my $right = 0;
    foreach my $n (reverse 0 .. $#clients) {
        my $back = $clients[$n]->receive;
        $right++ if defined $back && $back eq "ping $round $n";
    }
    is($right, $COUNT, "round $round: each gets its own answer");
}

$_->close foreach @clients;
is($server->line, "empty $COUNT", 'each with a disconnect callback');

# Room for the next: nothing was left behind.
my $late = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port});
$late->send('late');
is($late->receive, 'late', 'the next one is served');
$late->send('count');
is($late->receive, '1 count', 'and is alone');
$server->kill('TERM');

# More connections than descriptors: accepting pauses, nothing ends, nothing spins.
SKIP: {
    my $tight = spawn(sub {
        my $me = shift;
        open STDOUT, '>&', $me->{out} or die $!;
        exec 'sh', '-c', 'ulimit -n 30 2>/dev/null || exit 3; exec "$@"', 'sh', $^X,
            (map { "-I$_" } grep { !ref } @INC), '-e', <<'CHILD';
            use Net::EasyTCP;
            use EasyTCPTest;
            $| = 1;
            my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
            $server->setcallback(data => sub { $_[0]->send($_[0]->data) });
            print "PORT $port\n";
            $SIG{TERM} = sub { exit 0 };
            $server->start;
            print "STOPPED $@\n";
CHILD
    });
    my $line = $tight->line;
    skip 'cannot lower the number of descriptors', 3 unless defined $line && $line =~ /^PORT (\d+)/;
    my $port = $1;
    my @first;
    my $one = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die $@;
    push @first, raw_connect($port) foreach 1 .. 40;
    $one->send('still served');
    is($one->receive, 'still served', 'with every descriptor in use clients are served');
    ok(!$tight->poll, 'start() goes on');
    close $_ foreach @first;
    my $next = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port,
        negotiationtimeout => 60);
    ok($next, 'and accepts again when some are free') or diag $@;
    $tight->kill('TERM');
}

done_testing();
