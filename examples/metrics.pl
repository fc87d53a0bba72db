#!/usr/bin/perl
# A server that sends everything back, and tells Prometheus how it fares.
#
#   perl examples/metrics.pl [port [port for HTTP]]
#
# The ports are 2345 and 9345 unless given; 00 lets the system choose. Both are served by one loop:
#
#   curl http://127.0.0.1:9345/metrics

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Net::EasyTCP;

my ($port, $http_port) = @ARGV;
$port      = 2345 if !defined $port;
$http_port = 9345 if !defined $http_port;
$| = 1;
$SIG{PIPE} = 'IGNORE';

my $server = Net::EasyTCP->new(mode => 'server', port => $port, whenfull => 'close')
    or die "Cannot create the server: $@\n";
$server->setcallback(data => sub {
    my $client = shift;
    eval { $client->send(scalar $client->data) } or warn "Cannot answer: $@\n";
});

my @here = (LocalAddr => '127.0.0.1', LocalPort => $http_port);
my $http = IO::Socket::INET->new(@here, Listen => 20, ReuseAddr => 1)
    or die "Cannot listen on port $http_port: $@\n";
printf "Listening on port %d, metrics on port %d\n", $server->port, $http->sockport;

# What stats() calls by these names is a state; all else only grows.
my %is_state = map { $_ => 1 } qw(clients negotiating closing queued queued_most);

sub metrics {
    my $stats = $server->stats;
    my $text  = '';
    foreach my $name (sort keys %$stats) {
        my ($metric, $type) =
            $is_state{$name} ? ("easytcp_$name", 'gauge') : ("easytcp_${name}_total", 'counter');
        $text .= "# TYPE $metric $type\n$metric $stats->{$name}\n";
    }
    return $text;
}

sub answer {
    my ($sock, $request) = @_;
    my ($status, $body) = ('404 Not Found', "There is only /metrics here\n");
    ($status, $body) = ('200 OK', metrics()) if $request =~ m{\AGET /metrics[ ?]};
    print $sock "HTTP/1.0 $status\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body";
    return;
}

# HTTP requests that have come in part, by descriptor.
my %request;
my $select = IO::Select->new($server->pollhandle, $http);
while (1) {
    foreach my $ready ($select->can_read) {
        if ($ready == $server->pollhandle) {
            $server->process or die "The server failed: $@\n";
        }
        elsif ($ready == $http) {
            my $sock = $http->accept or next;
            $request{ fileno $sock } = '';
            $select->add($sock);
        }
        else {
            my $text = \$request{ fileno $ready };
            my $more = sysread $ready, $$text, 4096, length $$text;
            next if $more && length $$text < 16_384 && $$text !~ /\r?\n\r?\n/;
            answer($ready, $$text) if $more;
            $select->remove($ready);
            delete $request{ fileno $ready };
            close $ready;
        }
    }
}
