# What a server keeps for clients that are silent: hardly more where a compressor was agreed on, even if they
# have sent and received something.
use strict;
use warnings;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;
use Test::More;

my $CLIENTS = 1000;
my $FEW     = 50;      # make the server allocate what it needs once
my $LINE    = join '', map { "request $_ took " . 7 * $_ . ' ms, ' } 1 .. 20;

plan skip_all => 'memory is counted differently' if ($ENV{LD_PRELOAD} || '') =~ /asan|valgrind/;
my $descriptors = POSIX::sysconf(&POSIX::_SC_OPEN_MAX) || 256;
$CLIENTS = $descriptors - 100 if $CLIENTS > $descriptors - 24 && $descriptors > 300;

sub anonymous {
    my $pid = shift;
    open my $status, '<', "/proc/$pid/status" or return;
    my ($kb) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$status>;
    return $kb;
}

sub connected {
    my ($port, @options) = @_;
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, @options)
        or BAIL_OUT("cannot connect: $@");
    $client->send($LINE);
    $client->receive(60) eq $LINE or BAIL_OUT('no echo');
    return $client;
}

# Bytes for each client.
sub kept {
    my ($server, @options) = @_;
    my @clients = map { connected($server->{port}, @options) } 1 .. $FEW;
    my $before = anonymous($server->{pid});
    push @clients, map { connected($server->{port}, @options) } 1 .. $CLIENTS - $FEW;
    my $after = anonymous($server->{pid});
    $server->kill('TERM');
    return 1024 * ($after - $before) / ($CLIENTS - $FEW);
}

SKIP: {
    skip 'memory is not known here', 1 if !defined anonymous($$);
    # Both are there before this process has memory to spare, which they would inherit.
    my @servers = (spawn_server(donotcompress => 1), spawn_server());
    my $without = kept($servers[0], donotcompress => 1);
    my $with    = kept($servers[1]);
    diag(sprintf '%.0f bytes for each of %d clients, %.0f without compression', $with, $CLIENTS, $without);
    cmp_ok($with, '<=', 1.1 * $without, 'an agreed compressor costs an idle client less than a tenth');
}
done_testing();
