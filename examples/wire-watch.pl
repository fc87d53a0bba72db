#!/usr/bin/perl
# Shows what Net::EasyTCP says on the wire: relays one connection and prints a line for each packet.
#
#   perl examples/wire-watch.pl port host port
#
# Listens on the first port of this machine (0: the system chooses) and connects to the server at
# the other two. Point a client at it. Written without Net::EasyTCP, so that it shows what is there
# and not what the module means; see Net::EasyTCP::Protocol for the words.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;

my ($listen, $host, $port) = @ARGV;
defined $port or die "Usage: $0 port host port\n";
$| = 1;
$SIG{PIPE} = 'IGNORE';

my $listener = IO::Socket::INET->new(
    Listen    => 1,
    LocalAddr => '127.0.0.1',
    LocalPort => $listen,
    ReuseAddr => 1,
) or die "Cannot listen: $!\n";
print 'Watching port ', $listener->sockport, "\n";

my $client = $listener->accept or die "Cannot accept: $!\n";
my $server = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port)
    or die "Cannot connect to $host:$port: $!\n";

my %name  = ($client => 'client', $server => 'server');
my %other = ($client => $server, $server => $client);
my %bytes = ($client => '', $server => '');

my $ready = IO::Select->new($client, $server);
while ($ready->count) {
    for my $from ($ready->can_read) {
        my $to = $other{$from};
        if (sysread $from, $bytes{$from}, 65536, length $bytes{$from}) {
            write_all($to, substr $bytes{$from}, $bytes{"$from done"} || 0);
            $bytes{$from} = show_packets($name{$from}, $bytes{$from});
            $bytes{"$from done"} = length $bytes{$from};
        }
        else {
            print "$name{$from} closes\n";
            $ready->remove($from);
            shutdown $to, 1;
        }
    }
}

sub write_all {
    my ($to, $data) = @_;
    my $done = 0;
    while ($done < length $data) {
        my $written = syswrite $to, $data, length($data) - $done, $done;
        return if !defined $written;
        $done += $written;
    }
}

# Prints the whole packets at the head of the bytes and returns the rest.
sub show_packets {
    my ($who, $bytes) = @_;
    return show_tls($who, $bytes) if $name{tls};
    while (length $bytes >= 2) {
        my ($flags, $size_bytes) = unpack 'C2', $bytes;
        last if length $bytes < 2 + $size_bytes;
        my $size = unpack 'N', substr "\0\0\0\0" . substr($bytes, 2, $size_bytes), -4;
        last if length $bytes < 2 + $size_bytes + $size;
        my $payload = substr $bytes, 2 + $size_bytes, $size;
        show($who, $flags, $payload);
        substr $bytes, 0, 2 + $size_bytes + $size, '';
        # Behind an answer that takes the offer of TLS, nothing else follows.
        $name{tls} = $who eq 'client' && (split /\0/, $payload, -1)[-1] =~ /\A(?:[A-Z]\d+[a-z]*)*T1/;
        return show_tls($who, $bytes) if $name{tls};
    }
    return $bytes;
}

# The same for records of TLS, of which only the size can be seen.
sub show_tls {
    my ($who, $bytes) = @_;
    while (length $bytes >= 5) {
        my $size = unpack 'x3n', $bytes;
        last if length $bytes < 5 + $size;
        printf "%s: TLS, %d bytes\n", $who, $size;
        substr $bytes, 0, 5 + $size, '';
    }
    return $bytes;
}

sub show {
    my ($who, $flags, $payload) = @_;
    my @words = ($flags & 4 ? 'message' : 'negotiation');
    push @words, 'structure'  if $flags & 2;
    push @words, 'compressed' if $flags & 16;
    push @words, 'encrypted'  if $flags & 8;
    printf "%s: %s, %d bytes%s\n", $who, join(', ', @words), length $payload,
        $flags & (8 | 16) ? '' : text_of($flags, $payload);
}

# The beginning of a clear payload: the fields of a command, separated by spaces. The lines for people
# in the welcome packet are left out.
sub text_of {
    my ($flags, $payload) = @_;
    return '' if $flags & 2;
    my $text = $payload;
    $text =~ s/\A\s*-----BEGIN [^\0]*/(welcome)/;
    $text =~ tr/\0/ /;
    $text =~ s/[\r\n]+/ /g;
    $text =~ s/[^ -~]/./g;
    $text =~ s/^ +//;
    $text = substr($text, 0, 60) . '...' if length $text > 60;
    return length $text ? ": $text" : '';
}
