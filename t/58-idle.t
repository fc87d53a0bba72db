# An idle server uses no processor time, however many clients it has.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

sub wakeups {
    my $pid = shift;
    open my $fh, '<', "/proc/$pid/status" or return;
    while (<$fh>) { return $1 if /^voluntary_ctxt_switches:\s+(\d+)/ }
    return;
}

plan skip_all => 'no /proc to count wake-ups with' unless defined wakeups($$);

my $server = spawn_server(donotencrypt => 1, donotcompress => 1);
my @clients = map {
    Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) or die $@
} 1 .. 50;
foreach my $client (@clients) {
    $client->send('x');
    $client->receive;
}

# A loop of 10 ms would wake a hundred times in this second; the bound leaves room for chance.
my ($before, $cpu) = (wakeups($server->pid), cpu_seconds($server->pid));
select undef, undef, undef, 1;
my $woken = wakeups($server->pid) - $before;
cmp_ok($woken, '<=', 20, "start() without code sleeps while nothing happens ($woken wake-ups)");
cmp_ok(cpu_seconds($server->pid) - $cpu, '<=', 0.5, 'and uses no time');

$clients[7]->send('awake?');
is($clients[7]->receive, 'awake?', 'it wakes for a message');
$server->kill('TERM');

# With code it goes round without any traffic, as before.
{
    my ($own) = new_server();
    my $rounds = 0;
    $own->start(sub { $own->stop if ++$rounds == 5 });
    is($rounds, 5, 'start(code) calls the code although nothing happens');
}

done_testing();
