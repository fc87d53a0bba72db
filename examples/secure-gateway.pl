#!/usr/bin/perl
# Carries the messages of old peers over TLS, for a deployment nobody may touch: one gateway stands beside
# the old clients, another one beside the old server, and only they speak over the network.
#
#   old client --> gateway near the clients ==TLS==> gateway near the server --> old server
#
#   perl examples/secure-gateway.pl --listen old --connect tls localaddr:port host:port
#   perl examples/secure-gateway.pl --listen tls --connect old localaddr:port host:port
#
# Either gateway may be left out where that end is of version 1.10 or later. --listen old should be given an
# address that only the old machine reaches, such as 127.0.0.1.
#
# The passwords are taken from the environment: EASYTCP_LISTEN_PASSWORD is what those who connect must know,
# EASYTCP_CONNECT_PASSWORD what the other end is told. Without a password between the gateways, name the
# key of the far one: --fingerprint SHA256:... (which prints its own when it starts, and keeps it in the file
# of --key).
#
# Structures pass unread: whatever the old programs send to each other arrives as it was.

use strict;
use warnings;

use Getopt::Long;
use IO::Select;
use Net::EasyTCP;
use POSIX ();

my ($listen, $connect, $key, $fingerprint);
my %option = (listen => \$listen, connect => \$connect, key => \$key, fingerprint => \$fingerprint);
GetOptions(map({ ("$_=s" => $option{$_}) } keys %option))
    && @ARGV == 2
    && grep({ defined && /^(?:old|tls)$/ } $listen, $connect) == 2
    or die "Usage: $0 --listen old|tls --connect old|tls [--key file] [--fingerprint SHA256:...]"
    . " localaddr:port host:port\n";
my ($localaddr, $port)        = $ARGV[0] =~ /^(.*):(\w+)$/ or die "$ARGV[0] is no address with a port\n";
my ($far_host,  $far_port)    = $ARGV[1] =~ /^(.*):(\w+)$/ or die "$ARGV[1] is no address with a port\n";
my ($listen_password, $connect_password) = delete @ENV{qw(EASYTCP_LISTEN_PASSWORD EASYTCP_CONNECT_PASSWORD)};
die "Between the gateways there must be a password or a fingerprint, or anybody may be in between\n"
    if $connect eq 'tls' && !defined $connect_password && !defined $fingerprint;
$| = 1;
$SIG{CHLD} = 'IGNORE';

sub side {
    my ($kind, $password) = @_;
    return (
        $kind eq 'tls' ? (requireencryption => 'TLS') : (donotencryptwith => 'TLS'),
        defined $password ? (password => $password) : (),
        _passimages => 1,    # a structure stays the string that Storable made of it; for this program only
    );
}

my $server = Net::EasyTCP->new(
    mode => 'server',
    localaddr => $localaddr,
    port => $port eq '0' ? '00' : $port,
    side($listen, $listen_password),
    defined $key && $listen eq 'tls' ? (tlskey => $key) : (),
) or die "Cannot listen: $@\n";
$server->setcallback(connect => \&serve);
print 'Listening on port ', $server->port, "\n";
print 'Key ', $server->fingerprint, "\n" if $listen eq 'tls';
$server->start;

# A process for each client: one that blocks its far end does not block others.
sub serve {
    my $near = shift;
    my $pid = fork;
    if (!defined $pid) {
        warn "Cannot fork: $!\n";
    }
    elsif (!$pid) {
        undef $server;
        relay($near);
        POSIX::_exit(0);
    }
    $near->close;
}

sub relay {
    my $near = shift;
    my $far = Net::EasyTCP->new(
        mode => 'client',
        host => $far_host,
        port => $far_port,
        side($connect, $connect_password),
        defined $fingerprint ? (tlsfingerprint => $fingerprint) : (),
    );
    if (!$far) {
        warn "Cannot reach $far_host:$far_port: $@\n";
        return;
    }
    my %ends = map { fileno($_->[0]->socket) => $_ } [ $near, $far ], [ $far, $near ];
    my $select = IO::Select->new(keys %ends);
    # What came with the last packet of a negotiation is not seen by select any more.
    pass(@$_) or return foreach values %ends;
    while (my @ready = $select->can_read) {
        pass(@{ $ends{$_} }) or return foreach @ready;
    }
}

# Passes on what has come. Returns nothing when that was the end.
sub pass {
    my ($from, $to) = @_;
    while (defined(my $message = $from->receive(-1))) {
        $to->send($message) or return;
    }
    return $@ =~ /^Timed out/;
}
