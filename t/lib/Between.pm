package Between;

# Somebody in between two peers, for the tests of what he can do: relays connections and changes what he
# likes, without knowing any key. between() makes him, in a process of his own.

use strict;
use Exporter ();
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use EasyTCPTest;
use vars qw(@ISA @EXPORT);

@ISA    = qw(Exporter);
@EXPORT = qw(between repacked in_welcome);

# Takes the first unit off the bytes: the first packet of either end, then records of TLS if the client
# chose that, anything otherwise.
sub unit {
    my ($bytes, $is_first, $is_tls) = @_;
    return substr $$bytes, 0, length $$bytes, '' if !$is_first && !$is_tls;
    my $size = 0;
    if ($is_first) {
        return if length $$bytes < 2;
        my $width = ord substr $$bytes, 1, 1;
        return if length $$bytes < 2 + $width;
        $size = 2 + $width + unpack 'N', substr "\0\0\0\0" . substr($$bytes, 2, $width), -4;
    }
    else {
        return if length $$bytes < 5;
        $size = 5 + unpack 'x3n', $$bytes;
    }
    return if length $$bytes < $size;
    return substr $$bytes, 0, $size, '';
}

# Writes as a peer that sends in pieces.
sub put {
    my ($to, $bytes, $pieces) = @_;
    $bytes eq '' or write_to($to, $_) foreach $pieces ? split(//, $bytes) : $bytes;
    return;
}

# Relays one connection; change->(who, number, unit, child) gives what is sent instead, undef: cuts both. who
# is 'client' or 'server', child reports to the test. With $pieces, every byte is written alone.
sub relay {
    my ($me, $client, $server, $change, $pieces) = @_;
    my %from  = ($client => 'client', $server => 'server');
    my %to    = ($client => $server, $server => $client);
    my %bytes = ($client => '', $server => '');
    my %count = ($client => 0, $server => 0);
    my $is_tls;
    my $select = IO::Select->new($client, $server);
    while (my @ready = $select->can_read(60)) {
        foreach my $end (@ready) {
            sysread $end, $bytes{$end}, 65536, length $bytes{$end} or return;
            while (defined(my $unit = unit(\$bytes{$end}, !$count{$end}, $is_tls))) {
                $is_tls = 1 if $from{$end} eq 'client' && !$count{$end} && $unit =~ /T1\z/;
                my $changed = $change->($from{$end}, $count{$end}++, $unit, $me);
                return if !defined $changed;
                put($to{$end}, $changed, $pieces);
                last if $bytes{$end} eq '';
            }
        }
    }
    return;
}

# A relay to a port of this machine, which serves one connection after another: $child->{port} is its own.
sub between {
    my ($port, $change, $pieces) = @_;
    my $child = spawn(sub {
        my $me = shift;
        local $SIG{PIPE} = 'IGNORE';
        my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $!;
        $me->report('PORT ' . $listener->sockport);
        while (my $client = $listener->accept) {
            my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $!;
            $_->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1) foreach $client, $server;
            relay($me, $client, $server, $change, $pieces);
            close $_ foreach $client, $server;
        }
    });
    ($child->{port}) = $child->line =~ /^PORT (\d+)/;
    return $child;
}

# A packet made anew around a changed payload.
sub repacked {
    my ($unit, $change) = @_;
    my ($flags, $width) = unpack 'C2', $unit;
    local $_ = substr $unit, 2 + $width;
    $change->();
    return packet($flags, $_);
}

# For between(): changes $_, the payload of the server's first packet, and nothing else.
sub in_welcome {
    my $change = shift;
    return sub {
        my ($who, $number, $unit) = @_;
        return $who eq 'server' && $number == 0 ? repacked($unit, $change) : $unit;
    };
}

1;
