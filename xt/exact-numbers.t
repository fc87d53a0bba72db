# A million numbers through two peers and back: bitwise equal, printed alike, still numbers; and for an
# original, the bytes of nfreeze.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

plan skip_all => 'Set AUTHOR_TESTING to send a million numbers' if !$ENV{AUTHOR_TESTING};

use EasyTCPTest;
use Net::EasyTCP;
use NumberTest;

my $BATCH = 10_000;
my $seed  = $ENV{EASYTCP_TEST_SEED} || (time ^ $$ << 8);
srand $seed;
diag("seed $seed");

my $server = spawn_server(donotencrypt => 1, donotcompress => 1);
my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
    or BAIL_OUT($@);
my ($numbers, $wrong, $unlike) = (0, '', '');
while ($numbers < 1_000_000 && !$wrong && !$unlike) {
    my @sent = (special_numbers(), random_numbers($BATCH));
    $client->send([@sent]) or BAIL_OUT($@);
    $wrong  = not_exact(\@sent, $client->receive || []);
    $unlike = not_alike(\@sent);
    $numbers += @sent;
}
is($wrong,  '', "$numbers numbers come back as they were");
is($unlike, '', 'and originals get the bytes of nfreeze');
$client->close;
$server->kill('TERM');
done_testing();
