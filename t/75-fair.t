# Nobody has to wait for long because of what another client does.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

# stop() works at once, whatever has come in; nothing of that is lost.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my $all  = 500;
    my $peer = spawn(sub {
        my $me     = shift;
        my $client = Net::EasyTCP->new(
            mode          => 'client',
            host          => '127.0.0.1',
            port          => $port,
            donotcompress => 1,
        ) or die $@;
        $client->send("message $_") foreach 1 .. $all;
        $me->report('sent');
        $client->receive;
    });
    my @got;
    $server->setcallback(
        connect => sub { $server->stop },
        data    => sub { push @got, scalar $_[0]->data; $_[0]->send('go') if @got == $all; $server->stop },
    );
    $server->start;
    is($peer->hear, 'sent', 'many messages are on their way');
    is(scalar @got, 0, 'start returns after the callback that called stop');
    $server->start;
    is(scalar @got, 1, 'every time');
    my $starts = 1;
    while (@got < $all && $starts++ < 2 * $all) { $server->start }
    is_deeply(\@got, [ map { "message $_" } 1 .. $all ], 'later calls handle the rest, in order');
}

done_testing();
