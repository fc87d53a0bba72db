# A server without descriptors left serves those who are there, keeps the others waiting without using
# processor time, and lets them in when somebody leaves.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Select;
use Net::EasyTCP;
use POSIX ();

my $limit = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
plan skip_all => 'no limit of descriptors that is quickly reached' unless defined $limit && $limit > 0
    && $limit <= 70_000;

my (@taken, $gone);
my $server = spawn_server(
    donotencrypt => 1, donotcompress => 1,
    setup => sub {
        while (1) {
            my $fd = POSIX::dup(0);
            last unless defined $fd;
            push @taken, $fd;
        }
        POSIX::close(pop @taken) foreach 1 .. 3;
    },
    callbacks => {
        data => sub {
            my $client = shift;
            my $data = $client->data;
            $client->send($data eq 'clients' ? scalar $EasyTCPTest::Server->clients : $data);
        },
    },
);

sub client {
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}) || BAIL_OUT($@);
}

my @clients = map { client() } 1 .. 3;
$clients[0]->send('clients');
is($clients[0]->receive, 3, 'as many clients as there are descriptors');

my @waiting = map { raw_connect($server->{port}) } 1 .. 10;
my $before = cpu_seconds($server->pid);
my $select = IO::Select->new(@waiting);
is_deeply([ $select->can_read(1) ], [], 'the others get no answer, and are not thrown out');
SKIP: {
    skip 'no /proc to see processor time with', 1 unless defined $before;
    my $used = cpu_seconds($server->pid) - $before;
    cmp_ok($used, '<=', 0.5, "waiting takes no processor time ($used s)");
}
foreach my $client (@clients) {
    $client->send('served');
    is($client->receive, 'served', 'those who are in are served');
}
foreach my $round (1 .. 3) {
    (shift @clients)->close;
    my ($next) = $select->can_read;
    ok($next, "$round left: another is answered");
    $select->remove($next);
    raw_negotiate($next);
    syswrite $next, packet(5, 'hello');
    is((read_packet($next))[1], 'hello', 'and served');
}
close $_ foreach @waiting;
my $last = client();
$last->send('room');
is($last->receive, 'room', 'and when all have left there is room again');
$server->kill('TERM');
done_testing();
