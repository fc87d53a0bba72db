#!/usr/bin/perl
# Sends files of any size, piece by piece, and shows how far it is.
#
#   perl examples/file-transfer.pl receive DIRECTORY [port]
#   perl examples/file-transfer.pl send FILE [host [port]]
#
# A file appears under its name when all of it has come and its checksum is right. To change: the size of
# the pieces, and a password, in both calls of new.

use strict;
use warnings;

use Digest::MD5;
use File::Basename qw(basename);
use Net::EasyTCP;

my $PIECE = 256 * 1024;

my $what = shift || '';
$| = 1;
if    ($what eq 'receive' && @ARGV) { receive_files(@ARGV) }
elsif ($what eq 'send'    && @ARGV) { send_file(@ARGV) }
else                                { die "Usage: $0 receive DIRECTORY [port] | send FILE [host [port]]\n" }

sub receive_files {
    my ($directory, $port) = @_;
    -d $directory or die "$directory is no directory\n";
    my $server = Net::EasyTCP->new(
        mode         => 'server',
        port         => defined $port ? $port : 2345,
        allowclasses => 'none',
        maxmessage   => 2 * $PIECE,
    ) or die "Cannot create the server: $@\n";

    my %file;    # by serial number: { name, fh, digest }
    my $give_up = sub {
        my ($client, $why) = @_;
        eval { $client->send({ error => $why }) } or warn "Cannot answer: $@\n";
        $client->close;
        my $file = delete $file{ $client->serial };
        unlink "$file->{path}.part" if $file;
    };
    my %on = (
        begin => sub {
            my ($client, $message) = @_;
            # A name, and nothing that leads out of the directory.
            my ($name) = ($message->{name} || '') =~ /\A([\w-][\w.-]*)\z/
                or return 'this is no name for a file';
            my $path = "$directory/$name";
            open my $fh, '>:raw', "$path.part" or return "cannot write: $!";
            $file{ $client->serial } = { path => $path, fh => $fh, digest => Digest::MD5->new };
            return;
        },
        piece => sub {
            my ($client, $message) = @_;
            my $file = $file{ $client->serial } or return 'a piece of nothing';
            print { $file->{fh} } $message->{data} or return "cannot write: $!";
            $file->{digest}->add($message->{data});
            return;
        },
        end => sub {
            my ($client, $message) = @_;
            my $file = $file{ $client->serial } or return 'the end of nothing';
            close $file->{fh} or return "cannot write: $!";
            $file->{digest}->hexdigest eq $message->{md5} or return 'the checksum is another';
            rename "$file->{path}.part", $file->{path} or return "cannot rename: $!";
            delete $file{ $client->serial };
            print "Received $file->{path}\n";
            return;
        },
    );
    $server->setcallback(
        data => sub {
            my $client  = shift;
            my $message = $client->data;
            my $code    = ref $message eq 'HASH' && $on{ $message->{type} || '' };
            my $why     = $code ? $code->($client, $message) : 'this is no message of mine';
            return $give_up->($client, $why) if $why;
            # Every piece is acknowledged: so the sender knows how far it is, and does not run ahead.
            eval { $client->send({ ok => $message->{type} }) } or warn "Cannot answer: $@\n";
        },
        disconnect => sub {
            my $file = delete $file{ $_[0]->serial } or return;
            unlink "$file->{path}.part";
        },
    ) or die "Cannot set callbacks: $@\n";

    print 'Listening on port ', $server->port, "\n";
    $server->start or die "The server failed: $@\n";
}

sub send_file {
    my ($path, $host, $port) = @_;
    open my $fh, '<:raw', $path or die "Cannot read $path: $!\n";
    my $size   = -s $fh;
    my $digest = Digest::MD5->new;
    my $client = Net::EasyTCP->new(
        mode => 'client',
        host => defined $host ? $host : 'localhost',
        port => defined $port ? $port : 2345,
    ) or die "Cannot connect: $@\n";

    ask($client, { type => 'begin', name => basename($path) });
    my $done = 0;
    while (read $fh, my $data, $PIECE) {
        $digest->add($data);
        ask($client, { type => 'piece', data => $data });
        $done += length $data;
        printf "\r%3d %%", 100 * $done / $size;
    }
    ask($client, { type => 'end', md5 => $digest->hexdigest });
    print "\r$done bytes sent\n";
    $client->close;
}

sub ask {
    my ($client, $message) = @_;
    $client->send($message) or die "Cannot send: $@\n";
    my $answer = $client->receive;
    defined $answer or die "No answer: $@\n";
    die "The other end says: $answer->{error}\n" if $answer->{error};
}
