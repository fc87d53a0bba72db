# An echo server of whichever Net::EasyTCP perl -I finds, for measuring it.
#
#   perl server.pl [leave=1] [option=value ...]
#
# Prints "READY Net::EasyTCP VERSION PORT". Serves until it is ended or, with leave=1, until its
# first client has left. The other options are those of the constructor.

use strict;
use warnings;

use Net::EasyTCP;

my %option = map { split /=/, $_, 2 } @ARGV;
my $leave  = delete $option{leave};

my $server = Net::EasyTCP->new(mode => 'server', port => '00', %option)
  or die "Cannot create the server: $@\n";
$server->setcallback(
    connect    => sub { },
    disconnect => sub { $server->stop if $leave },
    data       => sub {
        my $client = shift;
        $client->send(scalar $client->data);    # fails when the load generator has seen enough
    },
) or die "Cannot set callbacks: $@\n";

$| = 1;
print "READY Net::EasyTCP $Net::EasyTCP::VERSION ", $server->{_sock}->sockport, "\n";
$server->start or die "The server failed: $@\n";
