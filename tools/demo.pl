# Runs examples/echo-server.pl, a client of the old protocol, and examples/echo-client.pl behind
# examples/wire-watch.pl, and shows what each of them says. Started by tools/demo.

use strict;
use warnings;

use IO::Select;
use lib 't/lib';
use OldPeer;

my $SECONDS = 60;    # for all of it, on a slow machine
my $password = 'demonstration';

my (%of, @running, %records, %bytes);
$SIG{ALRM} = sub { die "The demonstration took more than $SECONDS seconds\n" };
$SIG{INT} = $SIG{TERM} = sub { exit 1 };
END { kill TERM => grep { $_ } map { $_->{pid} } @running }

sub run {
    my ($name, @command) = @_;
    my $pid = open my $out, '-|';
    defined $pid or die "Cannot fork: $!\n";
    if (!$pid) {
        @running = ();
        open STDERR, '>&', \*STDOUT or die "Cannot redirect: $!\n";
        exec $^X, (map { "-I$_" } @INC), @command or die "Cannot run $command[0]: $!\n";
    }
    my $program = { name => $name, pid => $pid, out => $out, text => '' };
    $of{$out} = $program;
    push @running, $program;
    return $program;
}

# Prints what the running programs say until one of them has said what is waited for, or all ended.
# Returns what the pattern captured.
sub show_until {
    my ($program, $pattern) = @_;
    my $ready = IO::Select->new(map { $_->{out} } @running);
    while ($ready->count) {
        for my $out ($ready->can_read) {
            my $from = $of{$out};
            if (!sysread $out, $from->{text}, 4096, length $from->{text}) {
                $ready->remove($out);
                ended($from);
                next;
            }
            while ($from->{text} =~ s/\A(.*)\n//) {
                my $line = $1;
                show($from->{name}, $line);
                return $1 if $pattern && $from == $program && $line =~ $pattern;
            }
        }
    }
    die "$program->{name} ended early\n" if $pattern;
}

# Records of TLS are counted: there are many, and they tell nothing.
sub show {
    my ($name, $line) = @_;
    if ($name eq 'wire' && $line =~ /^(\w+): TLS, (\d+) bytes$/) {
        $records{$1}++;
        $bytes{$1} += $2;
        return;
    }
    printf "%-7s %s\n", $name, $line unless $line =~ /^Watching|closes$|^Said/;
    return;
}

# What a program of 2004 says and hears. Without Crypt:: modules it has no cipher, as then.
sub be_old_client {
    my $port = shift;
    my $peer = OldPeer->client(
        version     => '0.26',
        port        => $port,
        password    => $password,
        ciphers     => [ OldPeer->usable_ciphers('0.26') ],
        compressors => [ OldPeer->usable_compressors ],
    ) or die 'The old client failed: ', OldPeer->error, "\n";
    $peer->send('HELLO FROM 2004') or die "The old client cannot send\n";
    my $reply = $peer->receive;
    defined $reply && $reply eq 'HELLO FROM 2004' or die "The old client did not get its string back\n";
    show('old', "A client of 0.26 got its string back: $reply");
    $peer->close;
    return;
}

sub ended {
    my $program = shift;
    @running = grep { $_ != $program } @running;
    close $program->{out};
    $? == 0 or die "$program->{name} failed with status $?\n";
}

$| = 1;
alarm $SECONDS;
my $server = run('server', 'examples/echo-server.pl', '00', $password);
my $port   = show_until($server, qr/Listening on port (\d+)/);
if (OldPeer->has_crypt) {
    be_old_client($port);
    show_until($server, qr/ disconnected$/);
}
else {
    show('old', 'No client of 0.26 here: this system has no crypt() for its passwords');
}
my $relay  = run('wire', 'examples/wire-watch.pl', 0, '127.0.0.1', $port);
$port = show_until($relay, qr/Watching port (\d+)/);
run('client', 'examples/echo-client.pl', '127.0.0.1', $port, $password, 'DIE');
show_until();
show('wire', "TLS from the $_: $records{$_} records, $bytes{$_} bytes") for sort keys %records;
print "\nString, hash and two megabytes of binary data came back as they were sent.\n";
